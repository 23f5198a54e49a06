"""Rows of batch jobs in the slots that replicas of language models leave idle.

A job's worker asks at a socket of the platform, in the place of an engine. Its rows wait here until a replica of the
very package has a slot for them, which `capacity/idle.py` decides by what the replica's engine tells, 20 times a
second. Callers come first: where one of them waits for a slot, the row that was begun last is pushed out, and begun
anew later. Rows go straight to the engine: neither the gateway's log nor its limits have to do with them.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from argosy.capacity import idle
from argosy.capacity.idle import IdleDecision, IdleObservation, IdlePolicy, IdleState
from argosy.engines.language.base import Load, samples
from argosy.engines.language.process import ENGINES
from argosy.gateway.admin import Admin
from argosy.process.repeat import repeat
from argosy.serving.exchange import Exchange
from argosy.serving.listener import Listener
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, NotFound
from argosy.spec.revision import Replica, Revision
from argosy.spec.status import View
from argosy.telemetry.rates import Rates

LOG = logging.getLogger(__name__)
LOOK, AGAIN = 0.05, 0.01
"""Seconds between two looks at a replica; before a row is pushed out, which a second look has to confirm."""
SPAN = 0.25
"""Seconds of steps that are one measurement."""
LISTEN, LEARN, FRESH = 10.0, 1.5, 600.0
"""Seconds without rows in which it is seen how long a step takes; of steps that are enough; for which that holds."""
LONGEST = 3600.0
"""Seconds that a row may take."""
TRIES = 3
"""Times that a row is begun whose connection is lost: it may be what ends the engine."""
REMEMBERED = 60.0
"""Seconds for which it is known what replicas that are gone have lent."""
PATHS = ("/v1/chat/completions", "/v1/completions")

Group = tuple[str, str]
"""(endpoint, digest)"""


class IdleUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a job has of the slots of others: rows under way, and that wait; slot-seconds so far; how often a row was
    pushed out; and what decides how many there are."""

    running: int = 0
    waiting: int = 0
    seconds: float = 0.0
    pushed: int = 0
    reason: str = ""


class _SlotRow:
    """A row on its way, `since` when it has its slot or was last counted."""

    def __init__(self, exchange: Exchange, job: str, group: Group, body: bytes) -> None:
        self.exchange, self.job, self.group, self.body = exchange, job, group, body
        self.tries, self.since, self.gone = 0, 0.0, False
        self.task: asyncio.Task[None] | None = None


class _Base(msgspec.Struct):
    """Steps of the replicas of a group without rows, since `begun`: what they took until then is their `base`."""

    begun: float
    seconds: float = 0.0
    steps: int = 0
    base: float = 0.0

    def add(self, seconds: float, steps: int) -> None:
        """Of one replica that was busy."""
        self.seconds, self.steps = self.seconds + seconds, self.steps + steps
        if self.seconds >= LEARN and self.steps:
            self.base = self.seconds / self.steps


class _Lender:
    """A replica whose idle slots are lent: `steps` are (seconds, steps) by occupancy that are no measurement yet."""

    def __init__(self, replica: Replica, group: Group, slots: int, engine: str) -> None:
        self.replica, self.group, self.slots, self.engine = replica, group, slots, ENGINES[engine]
        self.rows: list[_SlotRow] = []
        self.state, self.decision = IdleState(), IdleDecision(0)
        self.requests, self.pushing = 0, 0
        self.before: tuple[float, Load] | None = None
        self.steps: dict[int, tuple[float, int]] = {}
        self.last = (0.0, 0)
        self.lent: defaultdict[str, float] = defaultdict(float)
        self.seen = 0.0

    @property
    def room(self) -> int:
        return self.decision.work - len(self.rows)

    async def load(self) -> Load:
        """What its engine tells. Raises Unavailable, Internal."""
        assert self.replica.engine is not None
        return self.engine.load(samples((await Admin(self.replica.engine, 2.0).get("/metrics")).decode()))

    def measured(self, now: float, load: Load) -> tuple[int, float]:
        """An occupancy, and the time of a step at it, where enough of them were seen; else (0, 0). Steps that take in a
        prompt are among them: a row that begins slows callers down, too."""
        (then, old), self.before = self.before or (now, load), (now, load)
        occupancy, self.last = max(load.running, old.running), (0.0, 0)
        if load.waiting or not min(load.running, old.running):
            return 0, 0.0
        self.last = now - then, load.decoded - old.decoded
        seconds, steps = self.steps.get(occupancy, (0.0, 0))
        seconds, steps = seconds + now - then, steps + load.decoded - old.decoded
        whole = seconds >= SPAN and steps > 0
        self.steps[occupancy] = (0.0, 0) if whole else (seconds, steps)
        return (occupancy, seconds / steps) if whole else (0, 0.0)

    def count(self, row: _SlotRow, now: float) -> None:
        """Book the time of a row since it was counted last."""
        self.lent[row.job] += now - row.since
        row.since = now


class IdleSlots:
    """Takes rows at the socket `path`, and lends them slots. `view` tells of replicas, `revisions` of what they serve;
    `rate` is what comes to an endpoint now; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        path: Path,
        view: Callable[[], View],
        revisions: Callable[[], Mapping[str, Revision]],
        rate: Callable[[str], Rates],
        policy: IdlePolicy | None = None,
        listen: float = LISTEN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self._view, self._revisions, self._rate = path, view, revisions, rate
        self._policy, self._listen, self._clock = policy or IdlePolicy(), listen, clock
        self._bases: dict[Group, _Base] = {}
        self._waiting: defaultdict[Group, deque[_SlotRow]] = defaultdict(deque)
        self._lenders: dict[str, _Lender] = {}
        self._pushed: defaultdict[str, int] = defaultdict(int)
        self._looked, self._again, self._wake = 0.0, False, asyncio.Event()

    def lent(self, run: str) -> dict[str, float]:
        """Slot-seconds that a run of a replica has lent since this platform runs, by job."""
        return dict(self._lenders[run].lent) if run in self._lenders else {}

    def steps(self) -> dict[str, tuple[tuple[float, int], ...]]:
        """By run of a replica: the mean time of a step, and the number of samples, by occupancy."""
        return {run: each.state.steps for run, each in self._lenders.items()}

    def use(self, job: str) -> IdleUse | None:
        """What a job has; None where it never asked, or ended a while ago."""
        waiting = [row for rows in self._waiting.values() for row in rows if row.job == job]
        lenders = [each for each in self._lenders.values() if job in each.lent]
        running = [row for each in lenders for row in each.rows if row.job == job]
        if not waiting and not lenders:
            return None
        group = (waiting or running)[0].group if waiting or running else None
        ready = [each for each in self._lenders.values() if each.group == group and each.seen == self._looked]
        reason = f"no replica of {group[0]} that is ready has this package" if group and not ready else ""
        return IdleUse(
            running=len(running),
            waiting=len(waiting),
            seconds=sum(each.lent[job] for each in lenders),
            pushed=self._pushed[job],
            reason=reason or (max(ready, key=lambda each: len(each.rows)).decision.reason if ready else ""),
        )

    async def run(self) -> None:
        """Look at replicas as long as there are rows, until cancelled."""
        listener = Listener(self.take, Address(path=str(self.path)), Runtime())
        await listener.start()
        try:
            await repeat(self._look, self._pause, "lending idle slots", LOG, self._wake)
        finally:
            for each in self._lenders.values():
                self._end(each)
            await listener.stop(0.0)

    def _pause(self) -> float:
        busy = any(self._waiting.values()) or any(each.rows for each in self._lenders.values())
        return REMEMBERED if not busy else AGAIN if self._again else LOOK

    def take(self, exchange: Exchange) -> None:
        """Have a request of a worker wait for a slot; its `model` says for which job, whose slots and which package."""
        try:
            body = msgspec.json.decode(exchange.body, type=dict[str, msgspec.Raw])
            job, endpoint, digest = msgspec.json.decode(body["model"], type=str).split(" ")
            body["model"] = msgspec.Raw(msgspec.json.encode(endpoint))
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, ValueError):
            exchange.refuse(InvalidArgument("this is no request for idle slots"))
            return
        if exchange.method != "POST" or exchange.path not in PATHS:
            exchange.refuse(NotFound(f"nothing is answered at {exchange.path[:80]}"))
            return
        row = _SlotRow(exchange, job, (endpoint, digest), msgspec.json.encode(body))
        exchange.cancelled = partial(self._forget, row)
        self._waiting[row.group].append(row)
        self._wake.set()

    def _forget(self, row: _SlotRow) -> None:
        """Its worker is gone."""
        row.gone = True
        if row.task is not None:
            row.task.cancel()

    async def _look(self) -> None:
        """See how busy replicas are, push rows out, begin others."""
        now = self._looked = self._clock()
        self._again = False
        for rows in self._waiting.values():
            for gone in [row for row in rows if row.gone]:
                rows.remove(gone)
        groups = {group for group, rows in self._waiting.items() if rows}
        groups |= {row.group for each in self._lenders.values() for row in each.rows}
        found = {group: self._ready(group, now) for group in groups}
        ready = {each.replica.run for lenders in found.values() for each in lenders}
        for run, each in list(self._lenders.items()):
            if run not in ready:
                self._end(each)
            if now - each.seen > REMEMBERED and not each.rows:
                del self._lenders[run]
        await asyncio.gather(*(self._lend(group, lenders) for group, lenders in found.items()))

    def _ready(self, group: Group, now: float) -> list[_Lender]:
        """The replicas that serve the package there."""
        revisions, found = self._revisions(), list[_Lender]()
        for replica in self._view().replicas:
            of = revisions.get(replica.revision)
            if replica.endpoint != group[0] or replica.phase != "ready" or replica.engine is None:
                continue
            if of is not None and of.language is not None and of.digest == group[1]:
                lender = self._lenders.setdefault(replica.run, _Lender(replica, group, of.language.slots, of.engine))
                lender.seen = now
                found.append(lender)
        return found

    async def _lend(self, group: Group, lenders: list[_Lender]) -> None:
        own = [len(each.rows) for each in lenders]
        loads = await asyncio.gather(*(each.load() for each in lenders), return_exceptions=True)
        now = self._clock()
        for lender, load, rows in zip(lenders, loads, own, strict=True):
            lender.requests = lender.slots if isinstance(load, BaseException) else max(0, load.busy - rows)
            for row in lender.rows:
                lender.count(row, now)
        requests, slots = [each.requests for each in lenders], min((each.slots for each in lenders), default=0)
        reserves = idle.reserves(requests, slots, self._rate(group[0]).requests, self._policy)
        alone = self._bases.get(group) or _Base(begun=now)
        self._bases[group] = alone = alone if now - alone.begun < FRESH else _Base(begun=now, base=alone.base)
        listens = now - alone.begun < self._listen and alone.seconds < LEARN
        for lender, load, rows, reserve in zip(lenders, loads, own, reserves, strict=True):
            if isinstance(load, BaseException):
                lender.decision, lender.before = IdleDecision(0, reason="its engine does not tell how busy it is"), None
                continue
            occupancy, step = lender.measured(now, load)
            seen = IdleObservation(
                slots=lender.slots,
                requests=lender.requests,
                work=rows,
                reserve=reserve,
                occupancy=occupancy,
                step=step,
                base=alone.base,
            )
            lender.decision, lender.state = idle.decide(seen, lender.state, self._policy)
            if not any(own):
                alone.add(*lender.last)
            push = min(lender.decision.push, load.waiting)
            if listens:
                lender.decision = IdleDecision(0, push, "first it is seen how long a step takes without rows")
            self._push(lender, min(push, lender.pushing))
            lender.pushing = push
            self._again |= push > 0
        self._begin(group)

    def _push(self, lender: _Lender, count: int) -> None:
        """Push out the rows that were begun last: they wait again, before the others."""
        for row in lender.rows[max(0, len(lender.rows) - count) :]:
            if row.task is not None and not row.gone:
                self._pushed[row.job] += 1
                row.task.cancel()

    def _end(self, lender: _Lender) -> None:
        """It lends no more."""
        lender.decision = IdleDecision(0)
        self._push(lender, len(lender.rows))

    def _begin(self, group: Group) -> None:
        """Begin rows where there is most room for them."""
        lenders = [each for each in self._lenders.values() if each.group == group]
        waiting = self._waiting[group]
        while waiting and (lender := max(lenders, key=lambda each: each.room, default=None)) and lender.room > 0:
            row = waiting.popleft()
            if not row.gone:
                row.since = self._clock()
                lender.rows.append(row)
                row.task = asyncio.create_task(self._answer(lender, row))

    async def _answer(self, lender: _Lender, row: _SlotRow) -> None:
        """One row at one replica, until it is answered or pushed out."""
        assert lender.replica.engine is not None
        try:
            answer = await Admin(lender.replica.engine, LONGEST).exchange("POST", row.exchange.path, row.body)
            row.exchange.answer(*answer)
        except ArgosyError as error:
            row.tries += 1
            if row.tries >= TRIES:
                text = f"the connection to an engine was lost {TRIES} times at this request: {error.message}"
                row.exchange.refuse(Internal(text))
            else:
                self._waiting[row.group].appendleft(row)
        except asyncio.CancelledError:
            if not row.gone:
                self._waiting[row.group].appendleft(row)
        finally:
            lender.count(row, self._clock())
            lender.rows.remove(row)
            self._begin(row.group)
