"""What a user declares of a rollout's guard: how sure it must be, what counts as harm, what as good enough."""

import re
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from argosy.spec.errors import InvalidArgument
from argosy.spec.strict import Amount, Count, Declaration, InnerShare, Positive, Share, repeated, require


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What a guard, or the comparison of answers in a shadow, says of a candidate, and why."""

    verdict: Literal["hold", "advance", "pause", "rollback"] = "hold"
    reason: str = ""


class Threshold(Declaration, frozen=True, kw_only=True):
    """A fixed bound on the candidate: `error_rate` (0 to 1), `latency` in seconds at a `quantile`, or the `cost` of a
    request in time of replicas, by their prices, as a factor of what it costs at the stable revision.

    Evaluated once the candidate served `after` requests, on all it served so far. It has no bound on false alarms.
    """

    metric: Literal["error_rate", "latency", "cost"]
    above: Amount
    quantile: InnerShare = 0.95
    after: Count = 100

    where: ClassVar[str] = "guard.thresholds: "


UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_SPAN = re.compile(r"(\d+)(ms|[smhdwy])")
_WINDOW = re.compile(rf"\[\s*((?:{_SPAN.pattern})+)\s*(?::[^\]]*)?\]")
SHORTEST_EVERY = 15.0


class Metric(Declaration, frozen=True, kw_only=True):
    """A number of the user's for each revision, from a Prometheus query; `worse` is `higher` or `lower`.

    The query is asked once for each revision, with `$revision` (its id), `$version` (its number) and `$endpoint` put
    in, and `every` so many seconds; 0: as long as the longest window in the query, 15 at least. `low` and `high` bound
    the number, if both are given: then the test is exact. `tolerance` is the difference that is no harm.
    """

    name: str
    query: str
    every: float = 0.0
    worse: Literal["higher", "lower"] = "higher"
    low: float | None = None
    high: float | None = None
    tolerance: Amount = 0.0

    where: ClassVar[str] = "guard.metrics: "

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.low is None) != (self.high is None) or (self.low or 0) > (self.high or 0) or self.spread == 0:
            raise InvalidArgument(f"guard.metrics: '{self.name}': give both low and high, low below high, or neither")
        if self.every and self.every < max(1.0, self.window):
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


TIMES = LATENCY, FIRST_TOKEN, TOKEN, SPEED = "latency", "first_token", "token", "speed"
"""What a guard compares times by: all but the first of language models. SPEED is that of a whole answer, by token."""
LONGER, SHORTER, REFUSALS = "longer", "shorter", "refusals"
"""What else it compares answers of language models by."""
MOST_REFUSALS, LONGEST_REFUSAL = 32, 100
Factor = Annotated[float, Meta(ge=1.05)]
USUAL_FACTOR = 1.25


class Guard(Declaration, frozen=True, kw_only=True):
    """How a rollout is evaluated.

    `alpha` bounds the chance that a harmless candidate is ever rolled back, over all evaluations and metrics together,
    and apart from that the chance that a candidate beyond a margin is ever let through. `margin` is the difference in
    error rate that is still good enough; `latency_margin` the factor at each of `latency_quantiles`, 1.25 where it is
    left out. A language model has no latency but a time to the first token and one for each further token, with
    `first_token_margin` and `token_margin` and the same quantiles and tolerance; with `speed_margin` also the tokens a
    second of whole answers, streamed or not, and if neither of the others is declared, only these. `length_margin` is
    the factor by which its answers may be longer or shorter. An answer that begins with one of `refusals`, whatever its
    case, is a refusal, and `refusal_margin` the difference in their share. What is within these two margins is no harm
    either. Its finish reasons are compared as predictions are. Tolerances are what is no harm: a
    difference in error rate, a factor of latency (twin processes differ by some percent, docs/guides/rollouts.md), a
    share of predictions. `patience` is how many seconds candidate and metrics may be silent before it pauses.
    """

    alpha: Annotated[float, Meta(gt=0, le=0.5)] = 0.01
    margin: InnerShare = 0.005
    latency_margin: Factor | None = None
    first_token_margin: Factor | None = None
    token_margin: Factor | None = None
    speed_margin: Factor | None = None
    length_margin: Factor | None = None
    refusal_margin: InnerShare = 0.02
    refusals: tuple[str, ...] = ()
    latency_quantiles: tuple[InnerShare, ...] = (0.5, 0.95)
    error_tolerance: Amount = 0.0
    latency_tolerance: Annotated[float, Meta(ge=1)] = 1.05
    prediction_tolerance: Share = 0.1
    min_requests: Count = 100
    patience: Positive = 60.0
    thresholds: tuple[Threshold, ...] = ()
    metrics: tuple[Metric, ...] = ()

    where: ClassVar[str] = "guard."

    def __post_init__(self) -> None:
        super().__post_init__()
        checks = {
            "latency_quantiles must be above 0 and below 1": all(0 < q < 1 for q in self.latency_quantiles),
            "error_tolerance must be below margin": self.error_tolerance < self.margin,
            **{
                f"latency_tolerance must be below {name}_margin": self.latency_tolerance < self.factor(name)
                for name in [each for each in TIMES if getattr(self, f"{each}_margin") is not None] or [LATENCY]
            },
            "metrics must have different names": not repeated(each.name for each in self.metrics),
            f"refusals must be at most {MOST_REFUSALS} beginnings of 1 to {LONGEST_REFUSAL} printable characters, "
            "without spaces around them": len(self.refusals) <= MOST_REFUSALS
            and all(
                each.isprintable() and each == each.strip() and 0 < len(each) <= LONGEST_REFUSAL
                for each in self.refusals
            ),
        }
        require(self.where, checks)
        for each in self.metrics:
            if each.pace >= self.patience:
                raise InvalidArgument(
                    f"guard.patience is {self.patience:g} s, but the metric '{each.name}' comes only every "
                    f"{each.pace:g} s: it would always count as missing; let patience be longer"
                )

    def factor(self, time: str) -> float:
        """By which the candidate's `time` (of TIMES) may be longer, or the answers LONGER or SHORTER."""
        name = "length" if time in (LONGER, SHORTER) else time
        return getattr(self, f"{name}_margin") or USUAL_FACTOR

    def tolerated(self, time: str) -> float:
        """The factor of such a time or length that is no harm."""
        return self.factor(time) if time in (LONGER, SHORTER) else self.latency_tolerance

    @property
    def of_language(self) -> tuple[str, ...]:
        """What the answers of a language model are compared by."""
        streams = self.first_token_margin or self.token_margin or not self.speed_margin
        return (
            *((FIRST_TOKEN, TOKEN) if streams else ()),
            *((SPEED,) if self.speed_margin else ()),
            *((LONGER, SHORTER) if self.length_margin else ()),
            *((REFUSALS,) if self.refusals else ()),
        )
