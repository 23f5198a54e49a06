"""Which machines of strangers work for us: what admits one, which of its requests are canaries, what evicts it. Pure.

A host is admitted if a timed benchmark shows what its offer claims. From then on two things are watched. Canaries are
requests whose answers are known: from golden examples, or asked of a trusted replica as well; rows that a host was not
asked before, so that what it remembers does not help it. Windows of traffic are slow where the median of time over
expected time is too large. `RateRise` counts both: at most a share `answers` of the canaries of an honest host
disagree, given its past, and a window is slow with a chance of at most `slow` after one that was not, `still` after one
that was (networks have bad minutes, which pass). The mean of the evidence is an e-detector: an honest host
is evicted once in `run_length` windows and canaries on average, or less often, at whatever moments one looks.
"""

import math

import msgspec

from argosy.monitoring.eprocess import RateRise, mixture
from argosy.spec.offer import Offer


class Figures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine can do: claimed by its offer, or measured. Zero is not claimed, or not measured.

    `compute` and `gpu_compute` are multiply-adds a second, of dense matrices in single precision; `memory` and
    `gpu_memory` are bytes that hold what is written; `disk` and `network` are bytes a second, `rtt` seconds.
    """

    compute: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    network: float = 0.0
    rtt: float = 0.0
    gpu_compute: float = 0.0
    gpu_memory: float = 0.0


CORE = 4e9
"""Multiply-adds a second of a core, at least."""


def claimed(offer: Offer) -> Figures:
    """What an offer says of its machine."""
    return Figures(compute=CORE * offer.cpus, memory=offer.memory, gpu_memory=offer.gpu_memory * offer.count)


def admit(claimed: Figures, measured: Figures, *, wrong: str = "", tolerance: float = 0.1) -> tuple[str, ...]:
    """What speaks against a host: where what was measured is less than what is claimed, up to a share `tolerance`, and
    which answer of the benchmark was `wrong`."""
    reasons = [f"the answer to '{wrong}' is wrong"] if wrong else []
    for name in Figures.__struct_fields__:
        claim, found = getattr(claimed, name), getattr(measured, name)
        if not (math.isfinite(claim) and math.isfinite(found) and claim >= 0 and found >= 0):
            reasons.append(f"{name} is not a number of 0 or more: {claim:g} claimed, {found:g} measured")
        elif name == "rtt" and claim and found > claim * (1 + tolerance) + 0.002:
            reasons.append(f"rtt is {found * 1000:.1f} ms, {claim * 1000:.1f} ms claimed")
        elif claim and not found:
            reasons.append(f"{name} is claimed, {claim:.3g}, and was not shown")
        elif name != "rtt" and found < claim * (1 - tolerance):
            reasons.append(f"{name} is {found:.3g}, {claim:.3g} claimed: {found / claim:.0%} of it")
    return tuple(reasons)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an honest host keeps to, how much evidence evicts, and the share of requests that are canaries: `calm`, or
    `alert` while the evidence is above `doubt`."""

    answers: float = 0.005
    ratio: float = 1.15
    slow: float = 0.01
    still: float = 0.4
    run_length: float = 2.5e6
    calm: float = 0.007
    alert: float = 0.05
    doubt: float = 2.0


RULES = Rules()


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a host. `evicted` says why, once it is."""

    answers: RateRise = RateRise()
    times: RateRise = RateRise()
    was_slow: bool = False
    canaries: int = 0
    disagreed: int = 0
    windows: int = 0
    slow: int = 0
    evicted: str = ""

    @property
    def log_e(self) -> float:
        """Evidence against it: the mean of both kinds."""
        return float(mixture(((*self.answers.logs, *self.times.logs)) or (0.0,)))


def answered(score: Score, agreed: bool, rules: Rules = RULES) -> Score:
    """After a canary."""
    one = msgspec.structs.replace(
        score,
        answers=score.answers.after(not agreed, 1, rules.answers),
        canaries=score.canaries + 1,
        disagreed=score.disagreed + (not agreed),
    )
    return score if score.evicted else _judged(one, rules)


def timed(score: Score, ratio: float, rules: Rules = RULES) -> Score:
    """After a window of traffic, a minute or so: `ratio` is the median of time to the first byte over what was expected
    of such a request on such a machine. A window without traffic says nothing, and is not told."""
    slow = not ratio <= rules.ratio
    one = msgspec.structs.replace(
        score,
        times=score.times.after(slow, 1, rules.still if score.was_slow else rules.slow),
        was_slow=slow,
        windows=score.windows + 1,
        slow=score.slow + slow,
    )
    return score if score.evicted else _judged(one, rules)


def _judged(score: Score, rules: Rules) -> Score:
    if score.log_e < math.log(rules.run_length):
        return score
    reason = (
        f"{score.disagreed} of {score.canaries} canaries disagreed (at most {rules.answers:.1%} are expected to), "
        f"{score.slow} of {score.windows} windows were slow"
    )
    return msgspec.structs.replace(score, evicted=reason)


def share(score: Score, rules: Rules = RULES) -> float:
    """Which share of its requests are canaries from here on: it depends on the past alone, so that evidence stays what
    it is. A host sees no rhythm, as each request is drawn by itself."""
    return rules.alert if score.log_e > math.log(rules.doubt) else rules.calm
