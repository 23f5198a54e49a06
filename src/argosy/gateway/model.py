"""What the gateway is told: its own configuration, the endpoints with their replicas, the keys."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Literal

import msgspec

from argosy.gateway.tracing import Collector
from argosy.process.sockets import PATH_BYTES
from argosy.spec.address import Address
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument
from argosy.spec.limits import Limits, check_rate
from argosy.spec.payload import PayloadLog
from argosy.spec.region import Peer, within

ANY_ENDPOINT = "*"
"""The scope that covers every endpoint."""
TEST = ":test"
"""What a scope ends with that also lets its holder pick a revision."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
RESERVED = ("x-argosy-", "argosy-", "x-envoy-", "authorization", "x-api-key", "cookie", "host", "content-")
_HEADER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COOKIE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_token(value: str, what: str) -> str:
    """Letters, digits, '.', '_' and '-', 1 to 128: safe in a header, a path and a file name."""
    if not _TOKEN.fullmatch(value):
        raise InvalidArgument(f"{what} '{value[:80]}' is not valid: use letters, digits, '.', '_' and '-'")
    return value


def check_socket(path: str, what: str) -> None:
    """Absolute, and short enough for the kernel."""
    if not os.path.isabs(path):
        raise InvalidArgument(f"{what} must have an absolute path, not '{path}'")
    size = len(os.fsencode(path))
    if size > PATH_BYTES:
        raise InvalidArgument(
            f"{what} would be {size} bytes long, and a Unix socket's path may have {PATH_BYTES}: "
            f"set ARGOSY_HOME to a shorter folder (now '{path}')"
        )


def check_address(address: Address, what: str) -> None:
    """A path as `check_socket` has it, or an IP address and a port: the gateway resolves no names."""
    if address.path:
        return check_socket(address.path, f"the socket of {what}")
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        raise InvalidArgument(f"the address of {what} must be an IP address, not '{address.host[:80]}'") from None
    if not address.port:
        raise InvalidArgument(f"the address of {what} has no port")
    return None


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files. Envoy reads them itself and again when either is replaced in its folder."""

    certificate: str
    key: str

    def __post_init__(self) -> None:
        for path in (self.certificate, self.key):
            if not os.path.isabs(path):
                raise InvalidArgument(f"TLS file '{path}' must be an absolute path")


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway listens and its bounds. Sizes are bytes, times seconds.

    `port` 0 takes a free one. `concurrency` is Envoy's worker threads (0: half of the cores this process may use).
    Bodies up to `retry_buffer_bytes` can be sent again to another replica; larger ones are streamed and cannot.
    `max_connections` counts those that have said nothing yet, `max_connections_per_address` only others: so many of
    HTTP/1 and, at the most, `HTTP2_CONNECTIONS` of HTTP/2; from `max_connections` on it is no bound.
    Of `max_heap_bytes`, Envoy sheds load from 80 % on (see `bootstrap.py`).
    `body_seconds` is how long a body may stop arriving, or the endpoint's own timeout if that is longer. `labels` is
    the socket of whoever takes labels of predictions, and with `batches` OpenAI's files and batches as well; `devices`
    that of who answers devices, `quota` that of who gives leases of tokens, `recorder` that of who records language
    models; without one nobody does.
    """

    run_dir: str
    host: str = "127.0.0.1"
    port: int = 8080
    tls: Tls | None = None
    collector: Collector | None = None
    labels: str = ""
    batches: bool = False
    devices: str = ""
    quota: str = ""
    recorder: str = ""
    access_log: str = ""
    log: str = ""
    max_body_bytes: int = 64 * 1024 * 1024
    retry_buffer_bytes: int = 4 * 1024 * 1024
    max_connections: int = 2048
    max_connections_per_address: int = 512
    max_heap_bytes: int = 1024 * 1024 * 1024
    concurrency: int = 0
    headers_seconds: float = 5.0
    idle_seconds: float = 300.0
    body_seconds: float = 60.0
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not os.path.isabs(self.run_dir):
            raise InvalidArgument(f"gateway run_dir '{self.run_dir}' must be an absolute path")
        if not 0 <= self.port <= 65535:
            raise InvalidArgument(f"gateway.port must be 0 to 65535, not {self.port}")
        for field in ("max_body_bytes", "retry_buffer_bytes", "max_connections", "max_connections_per_address"):
            if not 1 <= getattr(self, field) < 2**32:
                raise InvalidArgument(f"gateway.{field} must be 1 to {2**32 - 1}")
        for field in ("headers_seconds", "idle_seconds", "body_seconds", "drain_seconds"):
            if getattr(self, field) <= 0:
                raise InvalidArgument(f"gateway.{field} must be above 0")
        if self.max_heap_bytes < 128 * 1024 * 1024:
            raise InvalidArgument("gateway.max_heap_bytes must be at least 134217728, which is 128 MiB")
        if self.concurrency < 0:
            raise InvalidArgument("gateway.concurrency must not be negative")
        check_socket(self.admin_socket, "the gateway's admin socket")
        for path, whose in (
            (self.labels, "the socket for labels"),
            (self.devices, "the socket for devices"),
            (self.quota, "the socket for leases of tokens"),
            (self.recorder, "the recorder's socket"),
        ):
            if path:
                check_socket(path, whose)

    @property
    def admin_socket(self) -> str:
        """Envoy's administration, which has no authentication of its own and so never a port."""
        return str(Path(self.run_dir) / "admin.sock")

    @property
    def access_log_path(self) -> str:
        """The JSON access log, one line a request."""
        return self.access_log or str(Path(self.run_dir) / "access.log")

    @property
    def log_path(self) -> str:
        """Envoy's own log."""
        return self.log or str(Path(self.run_dir) / "envoy.log")


class Mirror(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A copy of `percent` of the requests that are routed by weight goes to a shadow revision; its answers are dropped.

    The copy has the request's `x-request-id` and `x-argosy-shadow: 1`; both have `x-argosy-record: 1`, so that their
    answers can be compared. Streams are not copied. Without a weight, the shadow revision answers nobody but testers.
    Of language models the processes beside the engines of both get copies, and ask for the first `tokens` of a greedy
    answer: that number stands in `x-argosy-shadow`.
    """

    revision: str
    percent: float = 100.0
    tokens: int = 1

    def __post_init__(self) -> None:
        check_token(self.revision, "mirror: revision id")
        if not 0.0001 <= self.percent <= 100:
            raise InvalidArgument(f"mirror: percent must be 0.0001 to 100, not {self.percent:g}")


class Sticky(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which revision a caller gets is decided once, by a header's value, the key's id or a cookie.

    A caller keeps a revision as long as no other revision's share grows. `name` is the header's or the cookie's; the
    cookie is given to a caller that has none and lives `seconds`. Without the header each request is decided anew.
    """

    by: Literal["header", "key", "cookie"]
    name: str = ""
    seconds: int = 30 * 86400

    def __post_init__(self) -> None:
        if self.by == "key" and self.name:
            raise InvalidArgument("sticky: by key takes no name")
        if self.by == "header" and (not _HEADER.fullmatch(self.name) or self.name.startswith(RESERVED)):
            raise InvalidArgument(f"sticky: '{self.name}' cannot be the header; use a lower-case name of your own")
        if self.by == "cookie" and not _COOKIE.fullmatch(self.cookie):
            raise InvalidArgument(f"sticky: '{self.name}' cannot be a cookie's name: use letters, digits, '_' and '-'")
        if self.seconds < 1:
            raise InvalidArgument("sticky: seconds must be at least 1")

    @property
    def cookie(self) -> str:
        """The cookie's name."""
        return self.name or "argosy-caller"


class Waiting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Addresses of a process that answers an endpoint's requests while no replica is ready.

    It gets `argosy-endpoint`, and may take `seconds` on top of the endpoint's timeout.
    """

    http: Address
    grpc: Address | None = None
    seconds: float = 300.0

    def __post_init__(self) -> None:
        for address in filter(None, (self.http, self.grpc)):
            check_address(address, "the activator")
        if self.seconds <= 0:
            raise InvalidArgument("waiting: seconds must be above 0")


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replica's addresses of HTTP/1, gRPC and, for a language model, its engine's own server, in clear unless they
    have a TLS identity; whether it takes work; and the adapters that its engine has loaded."""

    replica: str
    http: Address
    grpc: Address | None = None
    engine: Address | None = None
    state: Literal["ready", "draining"] = "ready"
    adapters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_token(self.replica, "replica id")
        for address in filter(None, (self.http, self.grpc, self.engine)):
            check_address(address, f"replica '{self.replica}'")


USUAL_CACHE = 131_072
"""Tokens in an engine's cache where nothing says how many."""


class RevisionRoute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A revision's share of its endpoint: weight 0 answers only on its own `/versions/{version}` paths.

    `language`: it is a language model, whose engine answers OpenAI's API; `cache` tokens are what is taken to be in the
    cache of each of its engines. `adapters` are what callers may choose by name, with what its engines know each by:
    a name, or a number. `encodes`: its replicas answer OpenAI's API for embeddings."""

    revision: str
    version: str
    weight: int = 0
    upstreams: tuple[Upstream, ...] = ()
    language: bool = False
    adapters: dict[str, str | int] = {}
    encodes: bool = False
    cache: int = USUAL_CACHE

    def __post_init__(self) -> None:
        check_token(self.revision, "revision id")
        check_token(self.version, "version")
        if not 0 <= self.weight <= 1_000_000:
            raise InvalidArgument(f"revision '{self.revision}': weight must be 0 to 1000000, not {self.weight}")

    @property
    def ready(self) -> bool:
        """Whether at least one replica takes work."""
        return any(upstream.state == "ready" for upstream in self.upstreams)


class EndpointRoute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public name and the revisions behind it. `timeout` is seconds for one whole answer, retries included.

    `testers`: `x-argosy-revision: ID` picks a revision, for keys with a scope that ends with ':test', also where no key
    is needed otherwise. Without it the header does nothing. Answers of a language model that begin with one of
    `refusals` are counted. `adapter` answers every request, perhaps by replicas of another endpoint.

    `peers` are all other regions. Those that serve the endpoint, lie in one of `regions` (none named: anywhere) and
    are within `peer_rtt` seconds answer what no replica here does; what any of them sends is answered here or nowhere.
    """

    endpoint: str
    adapter: str = ""
    revisions: tuple[RevisionRoute, ...] = ()
    timeout: float = 60.0
    retries: int = 1
    limits: Limits = Limits()
    auth: bool = True
    mirror: Mirror | None = None
    sticky: Sticky | None = None
    testers: bool = False
    waiting: Waiting | None = None
    refusals: tuple[str, ...] = ()
    payload: PayloadLog | None = None
    peers: tuple[Peer, ...] = ()
    regions: tuple[str, ...] = ()
    peer_rtt: float | None = None

    def __post_init__(self) -> None:
        check_name(self.endpoint, "endpoint name")
        if self.timeout <= 0 or not 0 <= self.retries <= 10:
            raise InvalidArgument(f"endpoint '{self.endpoint}': timeout must be above 0 and retries 0 to 10")
        if self.mirror and self.mirror.revision not in {each.revision for each in self.revisions}:
            raise InvalidArgument(
                f"endpoint '{self.endpoint}': there is no revision '{self.mirror.revision}' to mirror to"
            )
        if self.sticky and self.sticky.by == "key" and not self.auth:
            raise InvalidArgument(f"endpoint '{self.endpoint}': sticky by key needs auth")
        for what in ("region", "token"):
            named = [getattr(each, what) for each in self.peers if getattr(each, what)]
            if len(named) != len(set(named)):
                raise InvalidArgument(f"endpoint '{self.endpoint}': two peers have the same {what}")

    @property
    def public(self) -> tuple[RevisionRoute, ...]:
        """The revisions that answer callers: all but one that gets copies only."""
        shadow = self.mirror.revision if self.mirror else ""
        return tuple(each for each in self.revisions if each.revision != shadow or each.weight)

    @property
    def elsewhere(self) -> tuple[Peer, ...]:
        """The regions that may answer for this one, in their order."""
        return within(self.peers, self.endpoint, self.regions, self.peer_rtt)

    @property
    def language(self) -> bool:
        """Whether a language model answers."""
        return any(revision.language for revision in self.revisions)

    @property
    def encodes(self) -> bool:
        """Whether an encoder answers."""
        return any(revision.encodes for revision in self.revisions)

    @property
    def ready(self) -> bool:
        """Whether a revision that takes traffic has a replica that takes work."""
        return any(revision.ready for revision in self.revisions if revision.weight)

    @property
    def answers(self) -> bool:
        """Whether a request has somebody to answer it: at once, after a wait, or in another region."""
        return self.ready or self.waiting is not None or bool(self.elsewhere)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key by its hash: `sha256` is 64 hex digits of the UTF-8 key. Without a rate it is not limited.

    A scope is an endpoint's name or '*'; one that ends with ':test' also lets its holder pick a revision.
    `requests_per_second` refills a bucket of `burst` requests (default: one second's worth, at least 1). `limits`: its
    tokens are limited, and where they cannot be counted it is refused (closed) or answered (open). `also` is the hash
    of what the platform sends in the name of this key, while it has batches under way.
    """

    id: str
    sha256: str
    scopes: tuple[str, ...] = (ANY_ENDPOINT,)
    requests_per_second: float | None = None
    burst: int | None = None
    limits: Literal["", "closed", "open"] = ""
    also: str = ""

    def __post_init__(self) -> None:
        check_token(self.id, "key id")
        if not all(_SHA256.fullmatch(each) for each in (self.sha256, self.also or self.sha256)):
            raise InvalidArgument(f"key '{self.id}': sha256 must be 64 lower-case hex digits")
        for scope in self.scopes:
            if (name := scope.removesuffix(TEST)) != ANY_ENDPOINT:
                check_name(name, f"key '{self.id}': scope")
        check_rate(f"key '{self.id}'", self.requests_per_second, self.burst)
