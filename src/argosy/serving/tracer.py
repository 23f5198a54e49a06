"""Sends the spans of sampled requests to a collector, from a thread of its own. What that does not take in time is
dropped, and counted."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

from argosy.engines.base import require
from argosy.serving.otlp import Sender
from argosy.serving.spans import Ended, message
from argosy.serving.trace import Trail
from argosy.spec.tracing import Tracing

log = logging.getLogger("argosy.serving")

MOST = 2048
"""Requests that may wait to be sent."""
AT_ONCE = 256
GATHER_SECONDS = 1.0
EXPORT_SECONDS = 5.0
CLOSE_SECONDS = 2.0

_clock = time.perf_counter_ns


class Tracer:
    """One replica's. `about` are attributes of all its spans. Raises MissingExtra, InvalidArgument."""

    def __init__(self, tracing: Tracing, about: Mapping[str, str]) -> None:
        require("opentelemetry.proto.collector.trace.v1.trace_service_pb2", "tracing", "sending traces")
        self.sent = self.dropped = 0
        self._url, self._headers = tracing.target, tracing.secrets(os.environ)
        self._about = about
        self._ended: deque[Ended] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="tracer", daemon=True)
        self._thread.start()

    def end(self, trail: Trail, model: str, version: str, id: str, rows: int, start: int, code: str) -> None:
        """A request is over, by the code of its outcome. Never waits."""
        if len(self._ended) >= MOST:
            self.dropped += 1
            return
        now = _clock()
        self._ended.append(Ended(trail, model, version, id, rows, start, now, time.time_ns() - now, code))
        if len(self._ended) >= AT_ONCE:
            self._wake.set()

    def close(self) -> None:
        """Send what waits, for at most two seconds. Blocks."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        sender = Sender(self._url, self._headers, EXPORT_SECONDS)
        while not self._closing or self._ended:
            self._wake.wait(GATHER_SECONDS)
            self._wake.clear()
            while self._ended:
                some = [self._ended.popleft() for _ in range(min(AT_ONCE, len(self._ended)))]
                self._note(len(some), self._sent(sender, some))
        sender.close()

    def _sent(self, sender: Sender, some: Sequence[Ended]) -> bool:
        try:
            return sender.send(message(some, self._about))
        except Exception:
            log.exception("a bug kept traces from being sent")
            return False

    def _note(self, count: int, good: bool) -> None:
        if good:
            self.sent += count
        else:
            self.dropped += count
        if good == self._failing:
            self._failing = not good
            if good:
                log.info("the collector of traces at %s takes them again", self._url)
            else:
                log.warning("the collector of traces at %s takes nothing; they are dropped", self._url)
