"""What device and platform tell each other: JSON over HTTPS below `/edge/v1/`, every request made by the device.

This file is one of the few that the agent shares: it imports the standard library and msgspec alone. The platform
reads it as `argosy.edge.wire`, the agent, whose distribution has it by a link, as `argosy_edge.wire`. Unknown keys are
passed over: the other side may be newer. Times are seconds, sizes are bytes, digests are `sha256:<hex>`; a `sha256`
alone is hex.

Routes: POST enrol, challenge, session, report; GET desired, plan?package=<digest>&have=<digest>,…, blobs/<sha256> (with
Range). All but the first three need the token of a session in the header `SESSION`: gateways keep `Authorization` for
themselves.
"""

import functools
import re
from typing import Annotated, Any, Literal

import msgspec

PREFIX = "/edge/v1"
SESSION = "argosy-session"
VERSION = 1
"""Of the agent's protocol, in `Facts.protocol`: the platform refuses one it does not know."""
PIECE = 256 * 1024
"""Bytes of a blob that are hashed together, so that what was changed on the way is fetched again alone."""

Name = Annotated[str, msgspec.Meta(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")]
Label = Annotated[str, msgspec.Meta(max_length=63, pattern=r"^[A-Za-z0-9]?([-A-Za-z0-9._/]*[A-Za-z0-9])?\Z")]
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class WireError(Exception):
    """What was read is not what it has to be. The message says what was wrong and where."""


@functools.lru_cache(256)
def _version(text: str) -> tuple[int, ...]:
    """`1.24.1rc1` → (1, 24, 1)."""
    return tuple(int(each) for each in re.findall(r"\d+", text)[:3])


def within(bounds: tuple[str, str], text: str) -> bool:
    """Whether a version lies within its bounds, which are (at least, below) and may be empty."""
    least, below = bounds
    return not ((least and _version(text) < _version(least)) or (below and _version(text) >= _version(below)))


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is: `machine` as `uname -m` has it, the versions of its agent, Python and onnxruntime, bytes of
    memory and of free disk."""

    protocol: int = VERSION
    machine: Annotated[str, msgspec.Meta(max_length=32)]
    agent: Annotated[str, msgspec.Meta(max_length=32)]
    python: Annotated[str, msgspec.Meta(max_length=32)]
    onnxruntime: Annotated[str, msgspec.Meta(max_length=32)]
    memory: int = 0
    disk: int = 0


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """A device asks for its identity, with a one-time `token` or a `chain` (PEM) of the owner's, whose first
    certificate is of the device's key. `proof`: the key's signature over the nonce of a challenge and the fleet."""

    fleet: Name
    public_key: Annotated[str, msgspec.Meta(max_length=2000)]
    nonce: Text
    proof: bytes
    token: Text = ""
    chain: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    name: Name | None = None
    labels: Annotated[dict[Label, Label], msgspec.Meta(max_length=32)] = {}
    facts: Facts


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """Who the device is from now on, and whom it believes. `keys`: PEM of those that sign updates of the fleet, as the
    set of that `number` has them;
    `signers`: PEM of those of which one has to have signed a package besides, none where that is not asked."""

    device: Name
    fleet: Name
    keys: tuple[str, ...]
    signers: tuple[str, ...] = ()
    number: int = 1


class KeySet(msgspec.Struct, frozen=True, kw_only=True):
    """Keys that sign updates, in place of those of the set before, one of which signs this."""

    number: int
    keys: tuple[str, ...]


class ChallengeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A device asks what to sign. `device` is empty before it is enrolled."""

    device: str = ""


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What to sign, good once and for a minute. `now`: the platform's clock, for devices without one."""

    nonce: str
    now: float


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`proof`: the device's signature over nonce, device and `ratchet`. `ratchet` is what the last session gave: of two
    devices with one key the second one shows an old one. `number`: of the set of keys that it believes."""

    device: Name
    nonce: Text
    ratchet: Annotated[str, msgspec.Meta(max_length=64)] = ""
    proof: bytes
    facts: Facts
    number: int = 1


class DeviceSession(msgspec.Struct, frozen=True, kw_only=True):
    """A token for all other requests, good for `seconds`, and the next ratchet, to be written before it is used.
    `labels`: those that the platform has, which count. `keys`: the sets of keys since that of the device, signed."""

    token: str
    seconds: float
    ratchet: str
    now: float
    labels: dict[str, str] = {}
    keys: tuple["Envelope", ...] = ()


class UpdateFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a package."""

    path: Annotated[str, msgspec.Meta(max_length=300)]
    size: int
    sha256: Sha256


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How a candidate is judged on the device. `rows`: answers of the candidate beside those of the slot before, in
    the end all of them live or in the shadow; `seconds`: that it has to be healthy for at least; `loads`: starts it has
    before it is given up. `agreement`: the share of answers with the same label (numbers: within `tolerance`) below
    which it is rolled back; None: not compared. `errors`, `slower`: how much larger its share of errors may be, and by
    which factor its median latency. `longest`: seconds after which the trial ends without enough rows, as `then` says.
    """

    mode: Literal["shadow", "live"] = "shadow"
    rows: int = 100
    seconds: float = 60.0
    loads: int = 3
    agreement: float | None = 0.9
    tolerance: float = 0.05
    errors: float = 0.01
    slower: float = 2.0
    alpha: float = 0.05
    longest: float = 7 * 86400.0
    then: Literal["commit", "rollback"] = "commit"


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a model may cost on the device; 0: no bound. `milliseconds`: of a golden example, the median; `memory`:
    resident bytes beyond those without it."""

    milliseconds: float = 0.0
    memory: int = 0


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed: which package, for whom, in which order. `index` grows with each update of a fleet: a device
    takes none below the highest it has committed, unless it `undoes` that. `manifest` is `model.yaml` as JSON,
    `reference` the columns and cells in which the device counts (`argosy.profiles.layout`), as JSON.

    `machines`, `onnxruntime` (at least, below): where it runs; empty for any."""

    fleet: Name
    index: int
    ref: str
    package: Digest
    files: tuple[UpdateFile, ...]
    manifest: dict[str, Any]
    reference: tuple[dict[str, Any], ...] = ()
    machines: tuple[str, ...] = ()
    onnxruntime: tuple[str, str] = ("", "")
    budget: Budget = Budget()
    trial: Trial = Trial()
    payloads: float = 0.0
    """Share of requests whose inputs and outputs are kept and sent; 0 unless declared."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A DSSE envelope. `payload`: an `Update` as JSON, of the type `application/vnd.argosy.update+json`; `bundle`: a
    Sigstore bundle over the package's files, where `signers` have to have signed."""

    payload: bytes
    signature: bytes
    key: str
    bundle: bytes = b""


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """What a device has to run. `revision` names this answer: `desired?after=<revision>&wait=<seconds>` waits for
    another. `update` is None where nothing is asked. `hold`: a running update stops where it is; `drop`: a candidate
    that is not committed is rolled back. `poll`: seconds between two requests where the wait ends at once."""

    revision: str
    update: Envelope | None = None
    hold: bool = False
    drop: bool = False
    poll: float = 30.0


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One way to get a file. `full`: `blob` is the file, compressed by zstd. `patch`: `blob` is the file, compressed by
    zstd with the file `base` as its prefix (`transfer` has the form). `chunks`: `blob` lists (sha256, size) of every
    chunk, in order; those that no file on the device has are read as ranges of the file itself, whose blob is named by
    its own sha256. `size` is that of the blob, `pieces` the SHA-256 of each of its pieces, `bytes` what is sent in
    all."""

    kind: Literal["full", "patch", "chunks"]
    bytes: int
    blob: Sha256
    size: int
    pieces: tuple[Sha256, ...] = ()
    base: Sha256 | None = None


class TransferPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to get the files that the device lacks: by sha256, the ways in the order of their bytes."""

    files: dict[Sha256, tuple[Transfer, ...]]


Phase = Literal["idle", "fetch", "assemble", "verify", "selftest", "trial", "commit", "rollback", "stopped"]


class DeviceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a device did. `at`: its clock; `boot`, `after`: which start of the agent, and seconds since it,
    for clocks that jump."""

    at: float
    boot: int
    after: float
    kind: Literal["started", "phase", "committed", "rolled_back", "refused", "trouble", "ended"]
    index: int = 0
    package: str = ""
    detail: Text = ""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """What one slot did since the report before: requests, errors, and latencies in cells of a factor of two, from
    2^-14 seconds on."""

    requests: int = 0
    errors: int = 0
    latency: tuple[int, ...] = ()


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Both slots beside each other: what they did, and of the rows answered by both how many agree."""

    stable: Arm = Arm()
    candidate: Arm = Arm()
    compared: int = 0
    agreed: int = 0


class AgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a device has to say, in order: `number` grows by one, and is repeated until it was acknowledged. `profiles`
    are of `argosy.profiles.profile`, as JSON; `payloads` Parquet-like rows, where they are declared; `index`: of the
    update that is under way, else the highest that was committed; `sent`: bytes that were fetched for it, `again` of
    them more than once."""

    number: int
    boot: int
    phase: Phase
    index: int = 0
    committed: str = ""
    candidate: str = ""
    quality: Quality = Quality()
    events: Annotated[tuple[DeviceEvent, ...], msgspec.Meta(max_length=200)] = ()
    profiles: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(max_length=64)] = ()
    payloads: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(max_length=1000)] = ()
    lost: int = 0
    """Events, profiles and payloads that were thrown away, since the disk's share for them was full."""
    sent: int = 0
    again: int = 0


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """The highest number that the platform has."""

    number: int


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer above 399: `code` as in the table of errors, and the message."""

    error: str
    code: str = ""
