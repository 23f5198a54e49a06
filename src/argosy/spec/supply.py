"""Where capacity is bought: the section `supply` of `config.yaml`."""

import re
from typing import Annotated, ClassVar

from msgspec import Meta, field

from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Market
from argosy.spec.provider import Gpus, Provided
from argosy.spec.region import check_region
from argosy.spec.secret import VARIABLE, url_holds
from argosy.spec.strict import Amount, Count, Declaration, InnerShare, Share, repeated, require


class External(Declaration, frozen=True, kw_only=True):
    """A provider that answers requests instead of renting machines: of the OpenAI API or the Open Inference Protocol
    (`protocol`), at `url`. `models` names the model there for each endpoint that may overflow to it; `region` is where
    it answers, for endpoints that say where they may. It costs `request` US dollars a request, and `input` and `output`
    dollars a million tokens; no more than `budget` dollars a day (0: nothing is sent). `key` names the variable with
    its key, as in $KEY; `rate` is how many requests a second it takes."""

    url: str
    protocol: str = "openai"
    models: dict[str, str]
    region: str = ""
    key: str = ""
    request: Amount = 0.0
    input: Amount = 0.0
    output: Amount = 0.0
    budget: Amount = 0.0
    rate: Annotated[float, Meta(gt=0)] = 10.0

    where: ClassVar[str] = "supply.external: "

    def __post_init__(self) -> None:
        super().__post_init__()
        checks = {
            "url must begin with https://, or http:// and a loopback host, and hold no secret": self.url.startswith(
                ("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")
            )
            and not url_holds(self.url),
            "protocol is 'openai' or 'oip'": self.protocol in ("openai", "oip"),
            "key must name a variable, as in $KEY": not self.key
            or (self.key.startswith("$") and bool(VARIABLE.fullmatch(self.key[1:]))),
            "set what it costs: request, or input and output": self.request + self.input + self.output > 0,
            "models must name one endpoint at least": bool(self.models),
        }
        require(self.where, checks)
        if self.region:
            check_region(self.region, "supply.external: region")


MOST_HEDGED = 32
"""Machines of one group on spot capacity: what is weighed at a look grows with their cube."""
PLACEHOLDER = re.compile(r"\{[a-z]+\}")
FIELDS = ("{address}", "{machine}", "{launch}")


class MachineGroup(Declaration, frozen=True, kw_only=True):
    """Machines that are kept ready: `machines` of them, each with `count` of the GPU `gpu` (empty: any machine), at
    `providers` (none named: all), in a `region` as `argosy offers` takes it, for `most` US dollars an hour (0: any
    price), those of strangers only if `untrusted`. With the market `spot` they are held on spot capacity as long as
    that is to be had, and on demand else, so that fewer are ready for no more than the share `short` of the time; at
    most `zone` of them in one zone; that is weighed every `every` seconds.

    `join` is a command that makes a machine part of a cluster, once it serves, `leave` one that is run before it is
    given back; {address}, {machine} and {launch} in their words are its own. `drain`: seconds that its replicas have
    to move.
    """

    machines: Annotated[int, Meta(ge=0, le=1000)]
    gpu: str = ""
    count: Gpus = 1
    market: Market = "on_demand"
    region: str = ""
    most: Amount = 0.0
    providers: tuple[str, ...] = ()
    untrusted: bool = False
    zone: Count = 2
    short: InnerShare = 0.002
    every: Annotated[float, Meta(ge=1, le=3600)] = 195.0
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    drain: Amount = 600.0

    where: ClassVar[str] = "supply.groups: "

    def __post_init__(self) -> None:
        super().__post_init__()
        named = {each for word in (*self.join, *self.leave) for each in PLACEHOLDER.findall(word)} - {*FIELDS}
        checks = {
            "count must be 1 at least": self.count > 0,
            f"machines on spot are at most {MOST_HEDGED}": self.market != "spot" or self.machines <= MOST_HEDGED,
            f"join and leave know {', '.join(FIELDS)}, not '{min(named, default='')[:40]}'": not named,
        }
        require(self.where, checks)


class ProviderPromise(Declaration, frozen=True, kw_only=True):
    """What a provider promises of its machines: to be there for the share `available` of each hour, and to give `back`
    so many times the price of the time that is missed."""

    available: Share
    back: Amount = 1.0

    where: ClassVar[str] = "supply.promises: "


class SupplySettings(Declaration, frozen=True, kw_only=True):
    """Where capacity is bought. `catalogues`: for each provider the file with its prices, by absolute path, or its URL
    (https). `untrusted`: providers whose machines are those of strangers; `canaries`: seconds between two requests with
    known answers to an endpoint that may run there, on average; `evict`: a host whose replica gives wrong ones gets no
    more, and is given back. `refresh`: seconds after which catalogues are read anew (0: when they are asked to be).
    `promises`: what providers give back, by name. `sky`: the clouds that SkyPilot launches on. `external`: providers
    that requests overflow to, by a name; `providers`: where machines are launched or claimed, by a name and of a `kind`
    (local, ssh, kubernetes, ray, replay); `groups`: machines that are kept ready there, by a name. These stand in the
    file alone."""

    catalogues: dict[str, str] = field(default_factory=dict[str, str])
    untrusted: tuple[str, ...] = ("vast", "vastai")
    canaries: Annotated[float, Meta(ge=0.1, le=86400)] = 120.0
    evict: bool = False
    refresh: Annotated[int, Meta(ge=0)] = 0
    sky: tuple[str, ...] = ()
    external: dict[str, External] = field(default_factory=dict[str, External])
    providers: dict[str, Provided] = field(default_factory=dict[str, Provided])
    groups: dict[str, MachineGroup] = field(default_factory=dict[str, MachineGroup])
    promises: dict[str, ProviderPromise] = field(default_factory=dict[str, ProviderPromise])

    where: ClassVar[str] = "supply."

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (*self.catalogues, *self.external, *self.sky, *self.providers, *self.promises):
            check_name(name, "supply: the name of a provider")
        if twice := repeated((*self.external, *self.sky, *self.providers)):
            raise InvalidArgument(f"supply: '{twice}' names two providers; give one of them another name")
        for name, group in self.groups.items():
            check_name(name, "supply.groups: the name of a group")
            if unknown := {*group.providers} - {*self.providers, *self.sky}:
                raise InvalidArgument(
                    f"supply.groups.{name}: '{min(unknown)[:63]}' is not in supply.providers, nor in supply.sky"
                )
        for name, place in self.catalogues.items():
            good = place.startswith("/") or (
                place.startswith(("https://", "http://127.0.0.1:")) and not url_holds(place)
            )
            if not good:
                raise InvalidArgument(
                    f"supply.catalogues.{name} must be the absolute path of a file, or a URL that begins with https:// "
                    f"and holds no secret, not '{place[:80]}'"
                )
