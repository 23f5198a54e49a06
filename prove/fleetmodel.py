"""Devices that are simulated under a clock of their own, and the policy of waves over them: thousands of runs a minute.

A device is online or not, hears of an update at its next poll, fetches it, tries it and commits or rolls back; answers
are counted meanwhile. Some fail whatever the version is, and some go offline in the middle.
"""

from dataclasses import dataclass, field

import numpy as np

from argosy.fleets.waves import QUIET, WaveDecision, WaveObservation, WaveState, chosen, decide
from argosy.serving.counts import Counts
from argosy.spec.fleet import Deployment

LOOK = 20.0
"""Seconds between two looks of the policy."""
NEVER = np.inf


@dataclass(frozen=True)
class Version:
    """What a version does: the shares of devices that roll it back and that fall silent with it, and the share of its
    answers that fail, beside `errors` of the version before."""

    rolled_back: float = 0.0
    silent: float = 0.0
    errors: float = 0.001


GOOD = Version(rolled_back=0.005, silent=0.001)
BAD = {
    "labels permuted: nine devices in ten roll back": Version(rolled_back=0.9),
    "half of the devices roll back": Version(rolled_back=0.5),
    "a third falls silent": Version(silent=0.35),
    "errors on one answer in ten, which no device minds": Version(errors=0.1),
}


@dataclass
class Run:
    """What became of a deployment: its state, when it ended, the most devices that had it, and those that committed."""

    state: WaveState
    seconds: float
    exposed: int
    committed: int
    waves: list[int] = field(default_factory=list[int])
    broken: list[str] = field(default_factory=list[str])


class FleetModel:
    """`size` devices, a share `online` of which is there at any moment; each stays as it is for `stay` seconds on
    average. `answers`: answers of a device a second."""

    def __init__(
        self, declared: Deployment, version: Version, seed: int, size: int, online: float = 0.95, answers: float = 1.0
    ) -> None:
        self.declared, self.version, self.size, self.answers = declared, version, size, answers
        self.rng = np.random.default_rng(seed)
        self.online, self.stay = online, 4 * 3600.0
        self.here = self.rng.random(size) < online
        self.seen = np.where(self.here, 0.0, -NEVER)
        self.assigned = np.zeros(size, bool)
        self.begins, self.ends = np.full(size, NEVER), np.full(size, NEVER)
        draw = self.rng.random(size)
        self.fate = np.where(draw < version.rolled_back, 1, np.where(draw < version.rolled_back + version.silent, 2, 0))
        self.state = np.zeros(size, int)  # 0 none or offered, 1 at it, 2 committed, 3 rolled back
        self.dumb = np.zeros(size, bool)
        self.names = [f"device-{each}" for each in range(size)]
        self.now = 0.0

    def step(self) -> WaveObservation:
        """Let the devices live for one look, and observe them."""
        self.now += LOOK
        leaves, comes = (1 - self.online) * LOOK / self.stay, self.online * LOOK / self.stay
        draw = self.rng.random(self.size)
        self.here = np.where(self.here, draw >= leaves, draw < comes)
        talks = self.here & ~self.dumb
        self.seen = np.where(talks, self.now, self.seen)
        fresh = self.assigned & (self.state == 0) & np.isinf(self.begins) & talks
        self.begins[fresh] = self.now + self.rng.uniform(0, 60, int(fresh.sum()))
        started = (self.state == 0) & (self.begins <= self.now) & talks
        self.state[started] = 1
        fast = self.rng.uniform(30, 200, int(started.sum()))
        slow = self.rng.uniform(90, 900, int(started.sum()))
        self.ends[started] = self.now + np.where(self.fate[started] == 0, slow, fast)
        over = (self.state == 1) & (self.ends <= self.now) & talks
        self.state[over & (self.fate == 0)] = 2
        self.state[over & (self.fate == 1)] = 3
        self.dumb |= over & (self.fate == 2)
        return self._observed()

    def _observed(self) -> WaveObservation:
        declared, working = self.declared, self.state == 1
        silent = working & (self.seen < self.now - declared.stop.silence)
        others = ~(self.assigned & (self.state < 2)) & (self.seen >= self.now - 2 * declared.stop.silence)
        away = others & (self.seen < self.now - declared.stop.silence)
        quiet = working & ~silent & (self.seen < self.now - QUIET)
        trying = int((working & ~self.dumb).sum())
        rows = [int(self.rng.poisson(trying * self.answers * LOOK)) for _ in range(2)]
        bad = [int(self.rng.binomial(n, p)) for n, p in zip(rows, (self.version.errors, 0.001), strict=True)]
        arms = [Counts(requests=n, errors=k) for n, k in zip(rows, bad, strict=True)]
        there = self.seen >= self.now - QUIET
        return WaveObservation(
            now=1e9 + self.now,
            matching=self.size,
            assigned=int(self.assigned.sum()),
            offline=int(((self.state == 0) & ~there).sum()),
            begun=int((self.state > 0).sum()),
            committed=int((self.state == 2).sum()),
            failed=int((self.state == 3).sum() + silent.sum()),
            silent=int(silent.sum()),
            quiet=int(quiet.sum()),
            others=int(others.sum()),
            away=int(away.sum()),
            candidate=arms[0],
            stable=arms[1],
        )

    def assign(self, decision: WaveDecision) -> None:
        """Give the update to as many devices that are there as may have it."""
        free = np.flatnonzero(~self.assigned & (self.seen >= self.now - QUIET))
        room = decision.allowed - int(self.assigned.sum())
        picked = chosen("fleet", 1, (self.names[each] for each in free), room)
        self.assigned[[int(name.rpartition("-")[2]) for name in picked]] = True


def run(model: FleetModel, longest: float = 2 * 86400.0) -> Run:
    """A deployment from its first device to its end. `broken`: which promises of the policy did not hold."""
    state, found = WaveState(), Run(WaveState(), 0.0, 0, 0)
    while state.phase == "running" and model.now < longest and not state.paused:
        observed = model.step()
        decision, after = decide(model.declared, observed, state)
        if after.wave < state.wave or (state.phase != "running" and after.phase != state.phase):
            found.broken.append(f"went from {state.phase} {state.wave} to {after.phase} {after.wave}")
        state = after
        model.assign(decision)
        most, have = model.declared.waves[state.wave].size(model.size), int(model.assigned.sum())
        if have > most:
            found.broken.append(f"{have} devices in a wave of {most}")
        found.waves.append(state.wave)
    found.state, found.seconds = state, model.now
    found.exposed, found.committed = int(model.assigned.sum()), int((model.state == 2).sum())
    return found
