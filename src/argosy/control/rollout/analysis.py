"""What rollouts go by: their progress and evidence from the database, the counts of both arms from the gateway."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from argosy.control.rollout.evidence import Evidence, Look, learn
from argosy.control.rollout.metrics import Metrics
from argosy.control.rollout.shadow import Shadows
from argosy.control.rollout.strategy import Judged
from argosy.control.rollout.table import RolloutRow, Rollouts
from argosy.gateway.traffic import Traffic
from argosy.monitoring.analysis.pairs import Joined
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import RevisionStatus
from argosy.store.endpoints import Declared, Serving
from argosy.telemetry.replicas import told
from argosy.telemetry.revisions import Arm, counts

Stats = Callable[[], Awaitable[Mapping[tuple[str, str], Traffic]]]


class Judge:
    """The last rollout of every endpoint, and what was learned of it in this pass. `clock`: seconds since 1970."""

    def __init__(self, rollouts: Rollouts, stats: Stats, clock: Callable[[], float] = time.time) -> None:
        self.rollouts, self._stats, self._clock = rollouts, stats, clock
        self.metrics, self._shadows = Metrics(), Shadows()
        self.kept: dict[str, RolloutRow] = {}
        self._learned: dict[str, Evidence] = {}
        self.now = clock()

    async def read(self, declared: Iterable[Declared]) -> list[Declared]:
        """The declarations, each with its last rollout. Raises Unavailable."""
        self.kept = await asyncio.to_thread(self.rollouts.last)
        return [self._with_rollout(each) for each in declared]

    def _with_rollout(self, declared: Declared) -> Declared:
        kept = self.kept.get(declared.endpoint.name)
        serving = msgspec.structs.replace(declared.serving, rollout=kept.progress if kept else None)
        return msgspec.structs.replace(declared, serving=serving)

    async def look(self, declared: Iterable[Declared], standings: Mapping[str, RevisionStatus]) -> None:
        """Look at both arms of every rollout that goes on. Where the gateway does not tell, nothing is learned."""
        self.now, self._learned = self._clock(), {}
        going_on = [each for each in declared if each.serving.rollout and each.serving.rollout.live]
        if not going_on:
            return
        try:
            found = await self._stats()
        except ArgosyError:
            return
        self._shadows.keep(each.endpoint.name for each in going_on)
        for each in going_on:
            joined = await self._joined(each, standings)
            arms = await self._arms(each, found, standings)
            self._learned[each.endpoint.name] = await asyncio.to_thread(self._learn, each, arms, joined)

    async def _arms(
        self, declared: Declared, found: Mapping[tuple[str, str], Traffic], standings: Mapping[str, RevisionStatus]
    ) -> tuple[Arm, Arm]:
        """Candidate and stable as gateway and replicas count them."""
        progress, name = declared.serving.rollout, declared.endpoint.name
        assert progress is not None
        pair = (progress.candidate, progress.stable)
        inside = await asyncio.gather(*(told(standings.get(each, RevisionStatus()).replicas) for each in pair))
        outside = [counts(found.get((name, each), Traffic())) for each in pair]
        return Arm(gateway=outside[0], replicas=inside[0]), Arm(gateway=outside[1], replicas=inside[1])

    async def _joined(self, declared: Declared, standings: Mapping[str, RevisionStatus]) -> Joined | None:
        """Answers of both arms, while the candidate is in the shadow."""
        progress = declared.serving.rollout
        if progress is None or progress.phase != "shadowing":
            return None
        arms = [standings.get(each, RevisionStatus()).replicas for each in (progress.stable, progress.candidate)]
        return await self._shadows.look(declared.endpoint.name, progress.number, arms[0], arms[1], self.now)

    def _learn(self, declared: Declared, arms: tuple[Arm, Arm], joined: Joined | None) -> Evidence:
        name, progress = declared.endpoint.name, declared.serving.rollout
        assert progress is not None
        came, troubles = self.metrics.take(name, progress.number)
        look = Look(
            now=self.now,
            candidate=arms[0],
            stable=arms[1],
            metrics=came,
            troubles=troubles,
            joined=joined,
            spent=progress.spent,
        )
        old = Evidence() if progress.phase == "starting" else self.kept[name].evidence
        return learn(look, old, declared.endpoint.guard, declared.endpoint.rollout.shadow)

    def evidence(self, name: str) -> Evidence:
        """What is known of an endpoint's last rollout."""
        kept = self.kept.get(name)
        return self._learned.get(name) or (kept.evidence if kept else Evidence())

    def judged(self, name: str) -> Judged:
        """The guard's verdict as the decision takes it."""
        found = self.evidence(name)
        return Judged(verdict=found.verdict, reason=found.reason)

    def shadowed(self, name: str) -> Judged:
        """What the comparison of answers says, as the decision takes it."""
        found = self.evidence(name).compared
        return Judged(verdict=found.verdict, reason=found.reason)

    def exposed(self, name: str) -> int:
        """Requests that the candidate has answered in this rollout."""
        return self.evidence(name).exposed

    async def note(self, name: str, serving: Serving, weights: Mapping[str, int]) -> None:
        """Write what serves, how the rollout stands and what it goes by, together. Raises Conflict, Unavailable."""
        kept = self.kept.get(name)
        same = kept is not None and serving.rollout is not None and kept.progress.number == serving.rollout.number
        found = self.evidence(name) if same else Evidence()
        await asyncio.to_thread(self.rollouts.note, name, serving, found, kept, weights)
