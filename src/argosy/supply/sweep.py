"""What a provider says it has for us, against what was written down: what runs or is billed and should not."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from argosy.spec.offer import Launch
from argosy.store.launches import Launches
from argosy.supply.provider import Provider

OVER = ("ended", "failed")
DEAR = 1.02
"""A price this many times that of the offer is another price."""
PREFIX = "argosy"


Kind = Literal["unknown", "double", "billed", "nameless", "lost", "dear"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that differs. `unknown`: a machine with an id of this platform that it never wrote down; `double`: a
    second machine of one launch; `billed`: the machine of a launch that is over; `nameless`: a machine in our account
    that bears no id of a launch; `lost`: the provider does not have what should run; `dear`: it takes another price
    than its offer says. `price` is in US dollars per hour."""

    kind: Kind
    provider: str
    launch: str
    machine: str
    price: float
    said: str

    @property
    def ends(self) -> bool:
        """Whether the sweep ends it: what is certainly of this platform, and of no use to it."""
        return self.kind in ("unknown", "double", "billed")


def prefix(platform: str) -> str:
    """What the ids of all launches of a platform begin with."""
    return f"{PREFIX}-{platform}-"


def choose(launch: Launch, found: Sequence[Launch]) -> Launch | None:
    """Of the machines that a provider has for one launch, that which it is: the one that was taken already, else one
    that serves, else the oldest; one that has ended only where there is no other."""

    def rank(each: Launch) -> tuple[bool, bool, bool, float, str]:
        other = not launch.machine or each.machine != launch.machine
        return each.state in OVER, other, each.state != "ready", each.started or each.asked, each.machine

    return min(found, key=rank, default=None)


def compare(provider: str, ours: Mapping[str, Launch], theirs: Sequence[Launch], platform: str) -> list[Finding]:
    """What differs, by id. `ours` are launches of the provider that are not over, and those that it names."""
    found: list[Finding] = []
    machines: defaultdict[str, list[Launch]] = defaultdict(list)
    for each in theirs:
        if each.state not in OVER:
            machines[each.id].append(each)
    for name, live in sorted(machines.items()):
        launch = ours.get(name)
        mine = not name or launch is not None or name.startswith(prefix(platform))
        judged = [(each, _judge(launch, each, live)) for each in live if mine]
        found += [_finding(provider, each, *wrong) for each, wrong in judged if wrong is not None]
    lost = [each for name, each in ours.items() if each.state in ("starting", "ready") and name not in machines]
    return [*found, *(_finding(provider, each, "lost", "the provider does not have it") for each in lost)]


def _judge(launch: Launch | None, machine: Launch, beside: Sequence[Launch]) -> tuple[Kind, str] | None:
    """What is wrong with a machine that is there, beside others of the same id."""
    if not machine.id:
        return "nameless", "it bears no id of a launch: end it there, if it is yours and not needed"
    if launch is None:
        return "unknown", "it bears an id of this platform, which has not written it down"
    if launch.state in OVER:
        return "billed", f"the launch is {launch.state}, and the machine is still there"
    chosen = choose(launch, beside)
    if chosen is not None and machine is not chosen:
        return "double", f"the launch has the machine {chosen.machine} already"
    if machine.price > launch.offer.price * DEAR:
        return "dear", f"the offer said {launch.offer.price:g} $/h, {machine.price:g} $/h is taken"
    return None


def _finding(provider: str, machine: Launch, kind: Kind, said: str) -> Finding:
    price = machine.price or machine.offer.price
    return Finding(kind=kind, provider=provider, launch=machine.id, machine=machine.machine, price=price, said=said)


def sweep(launches: Launches, provider: Provider) -> list[Finding]:
    """Ask a provider what it has, and compare. Changes nothing. Raises what `Provider.list` raises."""
    theirs = provider.list()
    ours = {each.id: each for each in launches.live(provider.name)} | launches.known({each.id for each in theirs})
    return compare(provider.name, ours, theirs, launches.database.platform())
