"""How many messages a key may send in its streams: the gateway counts a stream as one request, a replica these.

A key has one bucket in a replica, whatever number of streams and connections it uses; each replica has its own.
"""

import time
from collections.abc import Callable, Iterable

from argosy.serving.internal_headers import KEY, RATE

MOST_KEYS = 4096


class Bucket:
    """Holds `burst` tokens at most and gets `rate` new ones a second."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.then = float(burst), now

    def take(self, now: float) -> bool:
        """Whether there was a token."""
        self.tokens = min(self.burst, self.tokens + (now - self.then) * self.rate)
        self.then = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Rates:
    """The buckets of all keys that have a limit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def of(self, metadata: Iterable[tuple[str, str | bytes]]) -> Callable[[], bool] | None:
        """What each message of a call asks for its token; None where the gateway tells of no limit."""
        told = dict(metadata)
        rate = told.get(RATE)
        if not isinstance(rate, str):
            return None
        key = str(told.get(KEY, ""))
        try:
            each, _, burst = rate.partition(";")
            limit = float(each), int(burst)
        except ValueError:
            return None
        bucket = self._buckets.get(key)
        if bucket is None or (bucket.rate, bucket.burst) != limit:
            if len(self._buckets) >= MOST_KEYS:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = Bucket(*limit, self._clock())
        return lambda: bucket.take(self._clock())
