"""Machines of strangers, simulated: those that keep their word, and ways not to.

A host has one request a second. A window is a minute; its ratio is the median of 60 times to the first byte, each with
a spread of a quarter, over what was expected. Honest hosts have slow patches as well (a neighbour, a network), five
times a day, and answers that differ by chance, as kernels of another kind give. What a cheat does begins at some moment
of an honest life; the benchmark sees it only where the host does not know that it is one.
"""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from argosy.supply.hosts import RULES, Figures, Rules, Score, admit, answered, share, timed

SECONDS = 60
"""Requests a window."""
WINDOWS = 60
CLAIM = Figures(compute=1e12, memory=64e9, disk=1e9, network=1e9, rtt=0.02, gpu_compute=5e13, gpu_memory=80e9)
SPREAD = 0.25


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What a host does, from the point of view of who asks it.

    `slowdown`: of each window's requests; `delay`: what each waits more, as a share of the expected time; `wrong`: the
    chance that a canary disagrees which it has not been asked before, `known` one that it has been. `measured`: what
    the benchmark finds, as shares of the claim.
    """

    slowdown: Sequence[float]
    delay: float = 0.0
    wrong: float = 0.001
    known: float = 0.001
    measured: Figures = CLAIM


def patches(
    random: np.random.Generator, windows: int, begins: float, ends: float, by: tuple[float, float]
) -> list[float]:
    """Windows with slow patches: they begin and end with these chances."""
    found, slow, factor = list[float](), False, 1.0
    for draw in random.random(windows):
        if slow:
            slow = draw >= ends
        elif draw < begins:
            slow, factor = True, random.uniform(*by)
        found.append(factor if slow else 1.0)
    return found


def honest(random: np.random.Generator, windows: int = WINDOWS) -> Host:
    """Slow patches of a minute and a half, on average, five or six times a day; up to 1.7 times as slow."""
    return Host(slowdown=patches(random, windows, 0.004, 0.65, (1.1, 1.7)), wrong=random.uniform(0.0, 0.003))


def _shrunk(random: np.random.Generator, low: float, high: float) -> Figures:
    """What a benchmark finds of a lesser machine; of the right one where the host shows another than it uses."""
    if random.random() < 0.5:
        return CLAIM
    left = random.uniform(low, high)
    names = ("compute", "gpu_compute", "gpu_memory")
    return msgspec.structs.replace(CLAIM, **{name: getattr(CLAIM, name) * left for name in names})


def smaller(random: np.random.Generator) -> Host:
    """A lesser device: 0.3 to 0.8 of what is claimed."""
    left = random.uniform(0.3, 0.8)
    return Host(slowdown=[1 / left] * WINDOWS, measured=_shrunk(random, left, left))


def shared(random: np.random.Generator) -> Host:
    """The device is sold twice: the other one's load comes and goes within 1 to 5 minutes, 50 to 95 % of the time."""
    return _shared(random, (1, 5), (0.5, 0.95))


def _shared(random: np.random.Generator, minutes: tuple[float, float], share: tuple[float, float]) -> Host:
    ends, busy = 1 / random.uniform(*minutes), random.uniform(*share)
    slow = patches(random, WINDOWS, min(1.0, ends * busy / (1 - busy)), ends, (1.3, 2.0))
    return Host(slowdown=slow, measured=_shrunk(random, 0.5, 0.77))


def seldom(random: np.random.Generator) -> Host:
    """The same, harder to tell from bad minutes: 5 to 10 minutes at a time, 30 to 50 % of the time."""
    return _shared(random, (5, 10), (0.3, 0.5))


def throttled(random: np.random.Generator) -> Host:
    """The clock is turned down once it is admitted."""
    return Host(slowdown=[random.uniform(1.25, 3.0)] * WINDOWS)


def relayed(random: np.random.Generator) -> Host:
    """Another machine, elsewhere, does the work: each request takes 12 to 80 ms more than the 50 it should."""
    return Host(slowdown=[1.0] * WINDOWS, delay=random.uniform(0.012, 0.08) / 0.05)


def another(random: np.random.Generator) -> Host:
    """A cheaper model answers, half of the requests or more."""
    wrong = random.uniform(0.5, 1.0) * random.uniform(0.6, 1.0)
    return Host(slowdown=[1.0] * WINDOWS, wrong=wrong, known=wrong)


def quantized(random: np.random.Generator) -> Host:
    """The same model in fewer bits: numbers leave the tolerance of the golden examples more often than not."""
    wrong = random.uniform(0.5, 1.0) * random.uniform(0.4, 1.0)
    return Host(slowdown=[1.0] * WINDOWS, wrong=wrong, known=wrong)


def replayed(random: np.random.Generator) -> Host:
    """Half of the requests or more get an earlier answer, that of the likest one: right where it was asked before, and
    sometimes by chance."""
    return Host(slowdown=[0.9] * WINDOWS, wrong=random.uniform(0.5, 1.0) * random.uniform(0.7, 1.0))


CHEATS: dict[str, Callable[[np.random.Generator], Host]] = {
    "smaller device": smaller,
    "shared device": shared,
    "throttled": throttled,
    "relayed": relayed,
    "another model": another,
    "quantized model": quantized,
    "replayed answers": replayed,
}
HARDER = {"shared seldom": seldom}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a host. `minutes` until it was caught, 0 at the admission, None if it was not; canaries among its
    `requests`."""

    minutes: int | None
    canaries: int
    requests: int
    score: Score


def play(
    host: Host, random: np.random.Generator, *, score: Score | None = None, rules: Rules = RULES, fresh: float = 1.0
) -> Run:
    """An admission, then traffic. `fresh`: the share of canaries that this host has not been asked before."""
    if score is None and admit(CLAIM, host.measured):
        return Run(minutes=0, canaries=0, requests=0, score=Score())
    score = score or Score()
    before, slowdown = score.canaries, np.asarray(host.slowdown)
    noise = np.exp(SPREAD * random.standard_normal((len(slowdown), SECONDS)))
    ratios = np.median(slowdown[:, None] * noise, axis=1) + host.delay
    for minute, ratio in enumerate(ratios.tolist(), 1):
        for _ in range(int(random.binomial(SECONDS, share(score, rules)))):
            chance = host.wrong if random.random() < fresh else host.known
            score = answered(score, bool(random.random() >= chance), rules)
        score = timed(score, ratio, rules)
        if score.evicted:
            return Run(minutes=minute, canaries=score.canaries - before, requests=minute * SECONDS, score=score)
    return Run(minutes=None, canaries=score.canaries - before, requests=len(slowdown) * SECONDS, score=score)


class Caught(msgspec.Struct, frozen=True, kw_only=True):
    """Of `trials`: the share that was caught within an hour of traffic, of those the share at the admission, and the
    minutes by which half and 99 % of them were."""

    cheat: str
    caught: float
    admission: float
    median: float
    late: float


def catch(cheat: str, trials: int, lives: Sequence[Score], seed: int, *, fresh: float = 1.0) -> Caught:
    """Cheats that begin after one of these honest lives; those that an admission can find come to it first."""
    random = np.random.default_rng((seed, *cheat.encode()))
    minutes = list[float]()
    for trial in range(trials):
        host = (CHEATS | HARDER)[cheat](random)
        if admit(CLAIM, host.measured):
            minutes.append(0.0)
            continue
        found = play(host, random, score=lives[trial % len(lives)], fresh=fresh)
        minutes.append(math.inf if found.minutes is None else found.minutes)
    times = np.array(minutes)
    found = np.sort(times[np.isfinite(times)])
    return Caught(
        cheat=cheat,
        caught=len(found) / trials,
        admission=float((times == 0).mean()),
        median=float(np.median(found)) if len(found) else math.inf,
        late=float(found[int(0.99 * (len(found) - 1))]) if len(found) else math.inf,
    )


class Honest(msgspec.Struct, frozen=True, kw_only=True):
    """`days` of honest hosts: how many were evicted, the share of requests that were canaries, and how they stood at
    the end of each."""

    days: int
    evicted: int
    overhead: float
    lives: tuple[Score, ...]


def live(days: int, seed: int) -> Honest:
    """Days of honest hosts; each day's host begins anew."""
    random = np.random.default_rng(seed)
    runs = [play(honest(random, 24 * WINDOWS), random) for _ in range(days)]
    overhead = sum(run.canaries for run in runs) / sum(run.requests for run in runs)
    lives = tuple(run.score for run in runs if not run.score.evicted)
    return Honest(days=days, evicted=days - len(lives), overhead=overhead, lives=lives)
