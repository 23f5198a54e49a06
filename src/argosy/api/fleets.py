"""`/v1/fleets`: make fleets, tokens for their devices, and see, label and revoke these."""

import asyncio
import time
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from argosy.api.device_sessions import tell_suspended
from argosy.api.route import Route, Services, Why
from argosy.edge import statement, wire
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.fleet import labels
from argosy.store.devices import D, Device, DeviceCount, DeviceState
from argosy.store.fleets import Fleet
from argosy.store.streams import stream

YEAR = 366 * 86400


class NewFleet(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fleet to make. `owner`: certificates (PEM) of an authority whose devices enrol without a token; `signers`: PEM
    of keys or of authorities, one of which has to have signed each package."""

    name: wire.Name
    owner: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    signers: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=20_000)], ...], msgspec.Meta(max_length=16)] = ()


class NewToken(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token for `uses` devices, good for `seconds`; they get these labels."""

    uses: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1
    seconds: Annotated[int, msgspec.Meta(ge=60, le=YEAR)] = 86400
    labels: Annotated[dict[wire.Label, wire.Label], msgspec.Meta(max_length=32)] = msgspec.field(
        default_factory=dict[str, str]
    )


class CreatedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token, which is shown this once, and the URL at which the gateway takes devices; empty where there is no
    gateway."""

    fleet: str
    token: str
    uses: int
    expires: float
    url: str


class NewLabels(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labels to give to a device; null takes one away."""

    labels: Annotated[dict[wire.Label, wire.Label | None], msgspec.Meta(max_length=32)]


class WhichDevices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those in this state, with these labels (`site=north,line=2`), after this name in their order."""

    state: DeviceState | None = None
    labels: str = ""
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000


class NewKeys(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new key that signs updates. With `retire` those before it count no more: what they signed has to be deployed
    anew."""

    retire: bool = False


class KeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The set of keys (public, PEM) by which devices know updates, the newest first."""

    number: int
    keys: tuple[str, ...]


class FleetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet, how many devices it has in each state, and how many are where with updates. `last` is the number of its
    last deployment."""

    name: str
    created: float
    actor: str
    owner: bool
    signers: int
    last: int
    devices: dict[str, int]
    counts: tuple[DeviceCount, ...]


class DeviceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A device, without its secrets. Times are seconds since 1970; `index` and `committed` are the update and package
    that it runs, `assigned` the deployment that it is to run."""

    id: str
    fleet: str
    labels: dict[str, str]
    facts: dict[str, Any]
    created: float
    seen: float
    state: DeviceState
    why: str
    since: float
    assigned: int
    index: int
    committed: str
    candidate: str
    phase: str
    lost: int


async def every(services: Services) -> list[FleetStatus]:
    """All fleets, by name."""
    fleets = services.store.fleets
    return await asyncio.to_thread(lambda: [_status(services, each) for each in fleets.every()])


async def create(services: Services, body: NewFleet) -> FleetStatus:
    """Make a fleet. Raises InvalidArgument, Conflict."""
    stream(body.name)
    for what, pem in (("owner", body.owner), *(("a signer", each) for each in body.signers)):
        _check_pem(what, pem)
    fleet = Fleet(name=body.name, created=time.time(), actor=body.cause.actor, owner=body.owner, signers=body.signers)
    await asyncio.to_thread(services.store.fleets.create, fleet, body.cause)
    return await one(services, fleet.name)


async def one(services: Services, name: str) -> FleetStatus:
    """One fleet. Raises NotFound."""
    return await asyncio.to_thread(lambda: _status(services, services.store.fleets.get(name)))


async def token(services: Services, name: str, body: NewToken) -> CreatedToken:
    """Make a token by which devices become part of a fleet. Raises NotFound."""
    now = time.time()

    def make() -> str:
        fleet = services.store.fleets.get(name)
        return services.store.fleets.devices.make_token(
            fleet.name, uses=body.uses, now=now, seconds=body.seconds, labels=body.labels, cause=body.cause
        )

    text = await asyncio.to_thread(make)
    url = services.controller.gateway_url or ""
    return CreatedToken(fleet=name, token=text, uses=body.uses, expires=now + body.seconds, url=url)


async def devices(services: Services, name: str, query: WhichDevices) -> list[DeviceStatus]:
    """Devices of a fleet, by name. Raises NotFound."""
    wanted = labels(filter(None, query.labels.split(",")), "the query's labels")

    def read() -> list[DeviceStatus]:
        fleet = services.store.fleets.get(name)
        where = [D.id > query.after, *([D.state == query.state] if query.state else [])]
        found = services.store.fleets.devices.of_fleet(fleet.name, *where, most=None if wanted else query.limit)
        fit = [each for each in found if wanted.items() <= each.labels.items()]
        return _shown(fit[: query.limit])

    return await asyncio.to_thread(read)


async def label(services: Services, name: str, device: str, body: NewLabels) -> DeviceStatus:
    """Give a device labels, and take some away. Raises NotFound."""

    def change() -> DeviceStatus:
        _of(services, name, device)
        return _shown([services.store.fleets.devices.label(device, body.labels, body.cause)])[0]

    return await asyncio.to_thread(change)


async def revoke(services: Services, name: str, device: str, body: Why) -> DeviceStatus:
    """A device is none of the fleet any more: from now on it is refused. Raises NotFound."""

    def change() -> DeviceStatus:
        _of(services, name, device)
        found = services.store.fleets.devices.revoke(device, time.time(), body.cause)
        tell_suspended(services.incidents.report, services.store.fleets.devices, name)
        return _shown([found])[0]

    return await asyncio.to_thread(change)


async def rotate(services: Services, body: NewKeys) -> KeyStatus:
    """Have a new key sign updates. Devices hear of it before they are told anything else."""

    def sign(number: int, keys: tuple[str, ...], by: ec.EllipticCurvePrivateKey) -> bytes:
        payload = msgspec.json.encode(wire.KeySet(number=number, keys=keys))
        return msgspec.json.encode(statement.sign(statement.KEYS, payload, by))

    keys = services.store.fleet_keys
    found = await asyncio.to_thread(lambda: keys.rotate(sign, retire=body.retire, cause=body.cause))
    return KeyStatus(number=found.number, keys=found.keys)


def _of(services: Services, fleet: str, device: str) -> None:
    if services.store.fleets.devices.get(device).fleet != fleet:
        raise NotFound(f"fleet '{fleet[:63]}' has no device '{device[:63]}': argosy fleet devices lists them")


def _shown(found: Iterable[Device]) -> list[DeviceStatus]:
    return [msgspec.convert(each, DeviceStatus, from_attributes=True) for each in found]


def _status(services: Services, fleet: Fleet) -> FleetStatus:
    counts = services.store.fleets.devices.counts(fleet.name)
    states: dict[str, int] = {}
    for each in counts:
        states[each.state] = states.get(each.state, 0) + each.devices
    return FleetStatus(
        name=fleet.name,
        created=fleet.created,
        actor=fleet.actor,
        owner=bool(fleet.owner),
        signers=len(fleet.signers),
        last=fleet.last,
        devices=states,
        counts=tuple(counts),
    )


def _check_pem(what: str, pem: str) -> None:
    try:
        if "BEGIN CERTIFICATE" in pem:
            x509.load_pem_x509_certificates(pem.encode())
        elif pem and what == "owner":
            raise InvalidArgument("the fleet's owner is given by the certificates of an authority, in PEM")
        elif pem:
            statement.public_key(pem)
    except (statement.BadStatement, *statement.BROKEN) as error:
        raise InvalidArgument(f"the fleet's {what}: {error}") from None


ROUTES = (
    Route("GET", "/v1/fleets", every, "Fleets of devices"),
    Route("POST", "/v1/fleets", create, "Make a fleet", status=201),
    Route("POST", "/v1/fleet-key", rotate, "Have a new key sign updates", status=201),
    Route("GET", "/v1/fleets/{name}", one, "A fleet"),
    Route("POST", "/v1/fleets/{name}/tokens", token, "Make a token for devices", status=201),
    Route("GET", "/v1/fleets/{name}/devices", devices, "Devices of a fleet"),
    Route("POST", "/v1/fleets/{name}/devices/{device}/labels", label, "Label a device"),
    Route("POST", "/v1/fleets/{name}/devices/{device}/revoke", revoke, "Revoke a device"),
)
