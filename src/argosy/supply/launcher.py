"""Has machines launched and ended. What shall be is written down first; one round after the other brings the provider
there, so that a controller which is killed at any moment leaves no machine that nobody knows, and none twice.

Only the rounds of `tend` ask a provider to launch and to end, one round of a provider at a time.
"""

import asyncio
import hashlib
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import msgspec

from argosy.process.repeat import repeat
from argosy.spec.errors import ArgosyError, Conflict, DeadlineExceeded, NotFound, Unavailable
from argosy.spec.offer import Launch, Offer
from argosy.store.launches import LIVE, Launches
from argosy.store.ledger import Cause
from argosy.supply.provider import Event, Provider
from argosy.supply.sweep import OVER, Finding, choose, compare, prefix

LOG = logging.getLogger(__name__)
PERIOD, SETTLED = 5.0, 60.0
"""Seconds between two rounds of a provider while something is under way, and while nothing is."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long something may take, in seconds: `again` until a launch that was not answered is asked for once more,
    `answer` until one that never is, is given up, `start` until one that was accepted serves (three times what was
    learned, if that is more), `missing` for which a machine may stand in no list before it is gone."""

    again: float = 30.0
    answer: float = 900.0
    start: float = 1200.0
    missing: float = 120.0


class Memory(msgspec.Struct):
    """What is known of a launch in this process alone: nothing that may not be lost. `doubt`: it may have been asked
    for without an answer, so that a refusal is believed only once no list has had it for long."""

    doubt: bool = True
    asked: float | None = None
    refused: str = ""
    missing: float | None = None


SKEW = 60.0
"""Seconds by which a provider's clock may differ from ours, before ours counts."""

Step = Literal["ask", "take", "gone", "give up", "end", "wait"]


def decide(launch: Launch, found: Launch | None, memory: Memory, patience: Patience, now: float) -> Step:
    """What is to be done for a launch that is not over, where the provider's list has `found` for it."""
    over = found is not None and found.state in OVER
    if launch.state == "ending":
        return "end" if found is not None and not over else "gone"
    if over:
        return "gone"
    if found is None and launch.state == "intended":
        asked = launch.asked if memory.asked is None else memory.asked
        if now - launch.asked > patience.answer or (memory.refused and now - asked >= memory.doubt * patience.missing):
            return "gone"
        if memory.refused:
            return "wait"
        return "ask" if memory.asked is None or now - memory.asked >= patience.again else "wait"
    if found is None:
        return "gone" if memory.missing is not None and now - memory.missing >= patience.missing else "wait"
    limit = max(patience.start, 3 * (launch.offer.ready or 0.0))
    starts = launch.ready is None and found.state != "ready"
    return "give up" if starts and now - launch.asked > limit else "take"


class Launcher:
    """The machines of a platform at its providers. Methods that are not `async` may take as long as a provider does."""

    def __init__(
        self,
        launches: Launches,
        providers: Mapping[str, Provider],
        *,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.launches, self.providers = launches, providers
        self.findings: dict[str, list[Finding]] = {}
        self.settled = SETTLED
        self._patience, self._clock = patience or Patience(), clock
        self._platform = launches.database.platform()
        self._memory: dict[str, Memory] = {}
        self._wake: dict[str, asyncio.Event] = {}

    def name(self, token: str = "") -> str:
        """The id of a launch, of a token that tells it from all others: of a new one where none is given."""
        return prefix(self._platform) + (token or secrets.token_hex(6))

    def request(self, offer: Offer, *, token: str = "", cause: Cause | None = None) -> Launch:
        """Write down that a machine shall be launched. The same token again is the same launch. Raises Conflict for a
        token of another offer, NotFound for an unknown provider."""
        self.provider(offer.provider)
        wanted = Launch(id=self.name(token), offer=offer, asked=self._clock())
        launch = self.launches.intend(wanted, cause)
        if launch is wanted:
            self._memory[launch.id] = Memory(doubt=False)
        there, asked = launch.offer, wanted.offer
        if (there.provider, there.instance, there.zone) != (asked.provider, asked.instance, asked.zone):
            raise Conflict(
                f"the launch '{launch.id}' is one of {there.instance} at {there.provider}: give another token"
            )
        return launch

    def release(self, name: str, cause: Cause | None = None, reason: str = "") -> Launch:
        """Write down that a machine shall end. One that has ended stays so. Raises NotFound."""
        return self.launches.move(name, LIVE, cause, state="ending", reason=reason)

    def wake(self, provider: str) -> None:
        """Have the next round of a provider begin now. For the loop of `run`."""
        if provider in self._wake:
            self._wake[provider].set()

    async def run(self) -> None:
        """Rounds of each provider for ever, in threads of their own: one that does not answer keeps nobody waiting."""
        self._wake = {name: asyncio.Event() for name in self.providers}
        pauses = dict.fromkeys(self.providers, PERIOD)
        pool = ThreadPoolExecutor(max(1, len(self.providers)), thread_name_prefix="launches")

        async def round_of(name: str) -> None:
            pauses[name] = await asyncio.get_running_loop().run_in_executor(pool, self._round, name)

        try:
            async with asyncio.TaskGroup() as group:
                for name, wake in self._wake.items():
                    work, pause = partial(round_of, name), partial(pauses.__getitem__, name)
                    group.create_task(repeat(work, pause, f"a round of {name}", LOG, wake))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _round(self, name: str) -> float:
        """One round, and the seconds until the next."""
        differs = any(each.ends or each.kind == "lost" for each in self.tend(name))
        moving = any(each.state != "ready" for each in self.launches.live(name))
        return PERIOD if moving or differs else self.settled

    def tend(self, name: str) -> list[Finding]:
        """One round: compare, ask, take, end. What differed. Raises Unavailable where the provider does not answer:
        nothing is concluded from what it does not say."""
        provider = self.provider(name)
        before = self.launches.live(name)  # read first: what is launched after this is in no list, and not missed
        theirs = provider.list()
        taken = self._hear(provider.events())
        for launch in before:
            mine = [each for each in theirs if each.id == launch.id]
            found = choose(
                launch, mine or [each for each in theirs if launch.machine and each.machine == launch.machine]
            )
            self._tend(provider, launch, found, taken.get(launch.id))
        ours = self.launches.known({each.id for each in (*before, *theirs)})
        self._book(ours, theirs)
        self.findings[name] = compare(name, ours, theirs, self._platform)
        for finding in self.findings[name]:
            if finding.ends:
                LOG.warning("%s: the machine %s is ended: %s", name, finding.machine, finding.said)
                machine = next(each for each in theirs if each.machine == finding.machine and each.id == finding.launch)
                self._end(provider, msgspec.structs.replace(machine, id=""))
        return self.findings[name]

    def _book(self, ours: Mapping[str, Launch], theirs: Sequence[Launch]) -> None:
        """Machines that no launch wanted cost something, too: each gets a launch of its own, which is ending or over.
        Of one that is billed after its end that is the time since."""
        unwanted: dict[str, Launch] = {}
        for machine in theirs:
            launch = ours.get(machine.id)
            over = launch is not None and launch.machine == machine.machine
            known = launch is not None and launch.state not in OVER and (over or not launch.machine)
            if not machine.id.startswith(prefix(self._platform)) or known or (over and machine.state in OVER):
                continue
            name = self.name("x" + hashlib.sha256(machine.machine.encode()).hexdigest()[:16])
            state = "ended" if machine.state in OVER else "ending"
            started = launch.ended if launch is not None and over else machine.started
            news = {"state": state, "started": started, "asked": self._clock(), "reason": "no launch wanted it"}
            unwanted[name] = msgspec.structs.replace(machine, id=name, ready=None, **news)
        for name in unwanted.keys() - self.launches.known(unwanted.keys()).keys():
            self.launches.intend(unwanted[name])

    def _hear(self, events: Sequence[Event]) -> dict[str, Event]:
        """What providers announce is written down; what they took, returned."""
        known = self.launches.known({each.launch for each in events})
        for event in events:
            launch = known.get(event.launch)
            if event.kind == "notice" and launch is not None and launch.state in ("starting", "ready"):
                at = "soon" if event.deadline is None else f"in {max(0.0, event.deadline - self._clock()):.0f} s"
                if not launch.reason:
                    self.launches.move(launch.id, (launch.state,), reason=f"the provider takes it back {at}")
        return {each.launch: each for each in events if each.kind == "preempted"}

    def _tend(self, provider: Provider, launch: Launch, found: Launch | None, taken: Event | None) -> None:
        now, memory = self._clock(), self._memory.setdefault(launch.id, Memory())
        memory.missing = None if found is not None else memory.missing or now
        step = decide(launch, found, memory, self._patience, now)
        if taken is not None and (found is None or found.state in OVER) and launch.state != "intended":
            self._over(launch, found, taken.at, "the provider took it back")
        elif step == "ask":
            self._ask(provider, launch, memory, now)
        elif step == "take" and found is not None:
            self._take(launch, found)
        elif step == "give up":
            said = f"it was accepted and did not serve within {now - launch.asked:.0f} s"
            self._end(provider, self.release(launch.id, reason=said))
        elif step == "end" and found is not None:
            self._end(provider, launch if found.id == launch.id else msgspec.structs.replace(launch, id=""))
        elif step == "gone":
            self._gone(launch, found, memory, now)

    def _ask(self, provider: Provider, launch: Launch, memory: Memory, now: float) -> None:
        """Ask for the machine. Where the answer is lost, the next list says whether it is there."""
        memory.asked = now
        try:
            found = provider.launch(launch)
        except (Unavailable, DeadlineExceeded) as error:
            LOG.warning("%s did not answer to the launch %s: %s", provider.name, launch.id, error.message)
            self.launches.move(launch.id, ("intended",), reason=error.message)
            memory.doubt = True
        except ArgosyError as error:
            memory.refused = error.message  # an earlier answer may have been lost: the next lists decide
        except Exception:
            LOG.exception("%s: the launch %s was not asked for as it should", provider.name, launch.id)
            memory.doubt = True
        else:
            self._take(launch, found)

    def _take(self, launch: Launch, found: Launch) -> None:
        """Write down what the provider says of a machine, its own times and the true price."""
        state = "ready" if found.state == "ready" else "starting"
        news: dict[str, Any] = {"state": state, "machine": found.machine, "address": found.address or launch.address}
        news |= {"price": found.price if found.price else launch.price or launch.offer.price}
        if launch.started is None and found.started is not None:
            news["started"] = self._moment(found.started, launch.asked)
        if state == "ready" and launch.ready is None:
            news["ready"] = self._moment(found.ready or self._clock(), launch.asked)
        if launch.state == "intended":
            news["reason"] = ""
        self.launches.move(launch.id, ("intended", "starting", "ready"), **news)

    def _gone(self, launch: Launch, found: Launch | None, memory: Memory, now: float) -> None:
        """Nothing is there, or nothing any more."""
        if launch.state == "ending":
            self._over(launch, found, now, launch.reason)
        elif launch.state == "intended" and found is None:
            why = (
                memory.refused or f"it was not answered within {now - launch.asked:.0f} s: {launch.reason or 'silence'}"
            )
            self._over(launch, None, now, why)
        else:
            why = (found.reason if found else "") or "the provider does not have it any more"
            self._over(launch, found, memory.missing or now, why)

    def _over(self, launch: Launch, found: Launch | None, at: float, why: str) -> None:
        failed, started = launch.ready is None and bool(why), launch.started
        news: dict[str, Any] = {"state": "failed" if failed else "ended", "reason": why}
        if found is not None and started is None:
            started = None if found.started is None else self._moment(found.started, launch.asked)
            news |= {"started": started, "machine": found.machine, "price": found.price or launch.price}
        ended = found.ended if found is not None and found.ended is not None else at
        news["ended"] = self._moment(ended, launch.asked if started is None else started, at)
        self.launches.move(launch.id, (launch.state,), **news)
        self._memory.pop(launch.id, None)

    def _moment(self, at: float, earliest: float, otherwise: float | None = None) -> float:
        """A time of the provider's record, not before what came before it. One that cannot be true is of a clock that
        is off, so that ours counts: nothing costs less than nothing, or more than there was time."""
        now = self._clock()
        if earliest - SKEW <= at <= now:
            return max(at, earliest)
        return max(earliest, min(now, now if otherwise is None else otherwise))

    def _end(self, provider: Provider, launch: Launch) -> None:
        """Ask for its end. It is over once no list has it; until then each round asks again."""
        try:
            provider.end(launch)
        except ArgosyError as error:
            what = launch.id or launch.machine
            LOG.warning("%s did not end %s, which is tried again: %s", provider.name, what, error.message)

    def provider(self, name: str) -> Provider:
        """The one of this name. Raises NotFound."""
        found = self.providers.get(name)
        if found is None:
            known = ", ".join(sorted(self.providers)) or "none"
            raise NotFound(f"there is no provider '{name[:63]}' in supply.providers of config.yaml; there are {known}")
        return found


def hosts_of(launch: Launch) -> set[str]:
    """What targets may know a machine by: one that is claimed, by the name that it is claimed under."""
    claimed, claim, _ = launch.machine.partition("#")
    return {claimed.rpartition("@")[2]} if claim else {launch.address, launch.machine} - {""}


def pick(offers: Iterable[Offer], wanted: Mapping[str, Any], most: float = math.inf) -> Offer:
    """The cheapest offer whose fields are as wanted, at a price of `most` an hour. Raises NotFound."""
    fits = [each for each in offers if all(getattr(each, key) == value for key, value in wanted.items())]
    cheap = [each for each in fits if each.price <= most]
    if not cheap:
        said = ", ".join(f"{key} {value}" for key, value in wanted.items())
        more = f" for {most:g} $/h: it takes {min(each.price for each in fits):g} $/h" if fits else ""
        raise NotFound(f"nothing is offered with {said}{more}; argosy offers lists what there is")
    return min(cheap, key=lambda each: (each.price, each.instance, each.region, each.zone))
