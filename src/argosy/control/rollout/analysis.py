"""What rollouts are decided by: their progress and evidence from the database, the counts of both revisions from the
gateway and their replicas, and in the shadow the answers of both."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from argosy.control.rollout.evidence import FINISH, Evidence, Reading, learn
from argosy.control.rollout.metrics import Metrics
from argosy.control.rollout.table import RolloutRow, Rollouts
from argosy.gateway.admin import Admin
from argosy.gateway.traffic import Traffic
from argosy.monitoring.analysis.agreement import Joined, Waiting, join
from argosy.serving import answers
from argosy.serving.answers import RecordedAnswer
from argosy.serving.counts import Counts
from argosy.spec.errors import ArgosyError
from argosy.spec.guard import FIRST_TOKEN, LONGER, REFUSALS, SPEED, TOKEN
from argosy.spec.revision import Replica, Revision, RevisionStatus
from argosy.store import usage
from argosy.store.endpoints import Declared, Progress, Serving
from argosy.store.usage import AnswerCounts
from argosy.telemetry.counters import RevisionCounts, counts
from argosy.telemetry.feed import Feed, Key

ANSWERS = "/argosy/answers"
NOTHING = AnswerCounts(endpoint="", revision="", at=0)
ANSWERS_TIMEOUT = 1.0
"""Seconds for a replica to hand its answers out."""


class Analysis:
    """The last rollout of every endpoint, and what was learned of it in this pass. `clock`: seconds since 1970.

    Answers that wait for their other half are lost when the controller ends.
    """

    def __init__(self, rollouts: Rollouts, feed: Feed, clock: Callable[[], float] = time.time) -> None:
        self.rollouts, self._feed, self._clock = rollouts, feed, clock
        self.metrics = Metrics()
        self.price: Callable[[str], float] = lambda revision: 1.0
        self.rows: dict[str, RolloutRow] = {}
        self._learned: dict[str, Evidence] = {}
        self._unpaired: dict[str, tuple[int, Waiting]] = {}
        self.now = clock()

    async def read(self, declared: Iterable[Declared]) -> list[Declared]:
        """The declarations, each with its last rollout. Raises Unavailable."""
        self.rows = await asyncio.to_thread(self.rollouts.last)
        found: list[Declared] = []
        for each in declared:
            row = self.rows.get(each.endpoint.name)
            serving = msgspec.structs.replace(each.serving, rollout=row.progress if row else None)
            found.append(msgspec.structs.replace(each, serving=serving))
        return found

    async def update(
        self,
        declared: Iterable[Declared],
        status: Mapping[str, RevisionStatus],
        revisions: Mapping[str, Revision],
    ) -> None:
        """Learn about every rollout that goes on; nothing where the gateway's counters cannot be read."""
        self.now, self._learned = self._clock(), {}
        live = {each.endpoint.name: each for each in declared if each.serving.rollout and each.serving.rollout.live}
        self._unpaired = {name: each for name, each in self._unpaired.items() if name in live}
        if not live:
            return
        with contextlib.suppress(ArgosyError):  # the feed has logged it
            traffic = await self._feed.traffic()
            streams = await self._streams(revisions, live)
            for name, each in live.items():
                if progress := each.serving.rollout:
                    self._learned[name] = await self._learn(each, progress, traffic, status, streams)

    async def _streams(self, revisions: Mapping[str, Revision], live: Collection[str]) -> dict[str, AnswerCounts]:
        """What is counted of each language model's answers until now."""
        found = {key: each for key, each in revisions.items() if each.language is not None and each.endpoint in live}
        read = await asyncio.to_thread(usage.answers, self.rollouts.database, live) if found else {}
        return {key: read.get((each.endpoint, key), NOTHING) for key, each in found.items()}

    async def _learn(
        self,
        declared: Declared,
        progress: Progress,
        traffic: Mapping[Key, Traffic],
        status: Mapping[str, RevisionStatus],
        streams: Mapping[str, AnswerCounts],
    ) -> Evidence:
        name, revisions = declared.endpoint.name, (progress.candidate, progress.stable)
        candidate, stable = (status.get(each, RevisionStatus()).replicas for each in revisions)
        joined = await self._joined(name, progress, candidate, stable) if progress.phase == "shadowing" else None
        inside = await asyncio.gather(self._feed.processes(candidate), self._feed.processes(stable))
        both = [
            RevisionCounts(
                gateway=_with(streams.get(revision), counts(traffic.get((name, revision), Traffic()))),
                replicas=processes,
            )
            for revision, processes in zip(revisions, inside, strict=True)
        ]
        mine, theirs = (streams.get(each, NOTHING) for each in revisions)
        prompts = ((mine.input, mine.cached), (theirs.input, theirs.cached))
        came, troubles = self.metrics.take(name, progress.number)
        reading = Reading(
            now=self.now,
            candidate=both[0],
            stable=both[1],
            metrics=came,
            troubles=troubles,
            joined=joined,
            spent=progress.spent,
            prompts=prompts if progress.candidate in streams else None,
            prices=(self.price(progress.candidate), self.price(progress.stable)),
        )
        old = Evidence() if progress.phase == "starting" else self.rows[name].evidence
        return await asyncio.to_thread(learn, reading, old, declared.endpoint.guard, declared.endpoint.rollout.shadow)

    async def _joined(
        self, name: str, progress: Progress, candidate: Sequence[Replica], stable: Sequence[Replica]
    ) -> Joined:
        """The pairs of answers that came since the last pass."""
        found = await asyncio.gather(_answers(stable), _answers(candidate))
        number, waiting = self._unpaired.get(name, (progress.number, Waiting()))
        joined, waiting = join(waiting if number == progress.number else Waiting(), *found, self.now)
        self._unpaired[name] = (progress.number, waiting)
        return joined

    def evidence(self, name: str) -> Evidence:
        """What is known of an endpoint's last rollout."""
        row = self.rows.get(name)
        return self._learned.get(name) or (row.evidence if row else Evidence())

    async def note(self, name: str, serving: Serving, weights: Mapping[str, int]) -> None:
        """Write what serves, how the rollout stands and what it goes by, together. Raises Conflict, Unavailable."""
        row = self.rows.get(name)
        same = row is not None and serving.rollout is not None and row.progress.number == serving.rollout.number
        evidence = self.evidence(name) if same else Evidence()
        await asyncio.to_thread(self.rollouts.note, name, serving, evidence, row, weights)


def _with(answered: AnswerCounts | None, counts: Counts) -> Counts:
    """The counts of the gateway with what the access log has of a language model's answers."""
    if answered is None:
        return counts
    times = {FIRST_TOKEN: answered.firsts, TOKEN: answered.eaches, SPEED: answered.speeds, LONGER: answered.lengths}
    times[REFUSALS] = answered.refusals
    return msgspec.structs.replace(counts, times=times, outputs={FINISH: answered.finishes})


async def _answers(replicas: Sequence[Replica]) -> list[RecordedAnswer]:
    found = await asyncio.gather(*map(fetch, replicas))
    return [answer for each in found for answer in each]


async def fetch(replica: Replica) -> Sequence[RecordedAnswer]:
    """The answers that a replica has recorded, which it forgets; none where it does not answer within a second."""
    try:
        return answers.read(await Admin(replica.http, ANSWERS_TIMEOUT).post(ANSWERS)).answers
    except (ArgosyError, OSError, ValueError, msgspec.MsgspecError):
        return ()
