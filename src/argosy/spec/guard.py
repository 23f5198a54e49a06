"""What a user declares of a rollout's guard: how sure it must be, what counts as harm, what as good enough."""

import math
import re

import msgspec

from argosy.spec.errors import InvalidArgument


class Threshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fixed bound on the candidate: `error_rate` (0 to 1), or `latency` in seconds at a `quantile`.

    Judged once the candidate served `after` requests, on all it served so far. It holds no false-alarm rate.
    """

    metric: str
    above: float
    quantile: float = 0.95
    after: int = 100

    def __post_init__(self) -> None:
        if self.metric not in ("error_rate", "latency"):
            raise InvalidArgument(f"guard.thresholds: metric is 'error_rate' or 'latency', not '{self.metric}'")
        if self.above < 0 or not 0 < self.quantile < 1 or self.after < 1:
            raise InvalidArgument("guard.thresholds: above must not be negative, quantile in (0, 1), after at least 1")


UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_SPAN = re.compile(r"(\d+)(ms|[smhdwy])")
_WINDOW = re.compile(rf"\[\s*((?:{_SPAN.pattern})+)\s*(?::[^\]]*)?\]")
SHORTEST_EVERY = 15.0


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number of the user's by arm, from a Prometheus query; `worse` is `higher` or `lower`.

    The query is asked once for each arm, with `$revision` (its id), `$version` (its number) and `$endpoint` put in, and
    `every` so many seconds; 0: as long as the longest window in the query, 15 at least. `low` and `high` bound the
    number, if both are given: then the test is exact. `tolerance` is the difference that is no harm.
    """

    name: str
    query: str
    every: float = 0.0
    worse: str = "higher"
    low: float | None = None
    high: float | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.worse not in ("higher", "lower"):
            raise InvalidArgument(f"guard.metrics: '{self.name}': worse is 'higher' or 'lower', not '{self.worse}'")
        if (self.low is None) != (self.high is None) or (self.low or 0) > (self.high or 0) or self.spread == 0:
            raise InvalidArgument(f"guard.metrics: '{self.name}': give both low and high, low below high, or neither")
        if self.tolerance < 0:
            raise InvalidArgument(f"guard.metrics: '{self.name}': tolerance must not be negative")
        if self.every and not max(1.0, self.window) <= self.every < math.inf:
            raise InvalidArgument(
                f"guard.metrics: '{self.name}': every must be at least 1 second and no shorter than the query's "
                f"window of {self.window:g} s: numbers that share a window are no new evidence"
            )
        if "$revision" not in self.query and "$version" not in self.query:
            raise InvalidArgument(
                f"guard.metrics: '{self.name}': the query names neither $revision nor $version, so that both revisions "
                'would get the same number; write, say, score{revision="$revision"}'
            )

    @property
    def window(self) -> float:
        """Seconds of the longest window in the query, as 300 for `rate(x[5m])`; 0 without one."""
        spans = (_SPAN.findall(found.group(1)) for found in _WINDOW.finditer(self.query))
        return max((sum(int(n) * UNIT_SECONDS[unit] for n, unit in each) for each in spans), default=0.0)

    @property
    def pace(self) -> float:
        """Seconds between two numbers."""
        return self.every or max(SHORTEST_EVERY, self.window)

    @property
    def spread(self) -> float | None:
        """high − low, or None if unbounded."""
        return None if self.low is None or self.high is None else self.high - self.low


class Guard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a rollout is judged.

    `alpha` bounds the chance that a harmless candidate is ever rolled back, over all looks and metrics together, and
    apart from that the chance that a candidate past a margin is ever let through. `margin` is the difference in error
    rate that is still good enough; `latency_margin` the factor at each of `latency_quantiles`. Tolerances are what is
    no harm: a difference in error rate, a factor of latency (twin processes differ by some percent, docs/rollouts.md),
    a share of predictions. `patience` is how many seconds candidate and metrics may be silent before it pauses.
    """

    alpha: float = 0.01
    margin: float = 0.005
    latency_margin: float = 1.25
    latency_quantiles: tuple[float, ...] = (0.5, 0.95)
    error_tolerance: float = 0.0
    latency_tolerance: float = 1.05
    prediction_tolerance: float = 0.1
    min_requests: int = 100
    patience: float = 60.0
    thresholds: tuple[Threshold, ...] = ()
    metrics: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        checks = {
            "alpha must be above 0 and at most 0.5": 0 < self.alpha <= 0.5,
            "margin must be above 0 and below 1": 0 < self.margin < 1,
            "latency_margin must be at least 1.05 and finite": 1.05 <= self.latency_margin < math.inf,
            "latency_quantiles must lie in (0, 1)": all(0 < q < 1 for q in self.latency_quantiles),
            "error_tolerance must be at least 0 and below margin": 0 <= self.error_tolerance < self.margin,
            "latency_tolerance must be at least 1 and below latency_margin": (
                1 <= self.latency_tolerance < self.latency_margin
            ),
            "prediction_tolerance must be 0 to 1": 0 <= self.prediction_tolerance <= 1,
            "min_requests must be at least 1": self.min_requests >= 1,
            "patience must be above 0 seconds": self.patience > 0,
            "metrics must have different names": len({m.name for m in self.metrics}) == len(self.metrics),
        }
        for message, good in checks.items():
            if not good:
                raise InvalidArgument(f"guard.{message}")
        for each in self.metrics:
            if each.pace >= self.patience:
                raise InvalidArgument(
                    f"guard.patience is {self.patience:g} s, but the metric '{each.name}' comes only every "
                    f"{each.pace:g} s: it would always count as missing; let patience be longer"
                )
