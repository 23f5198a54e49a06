"""Where a server listens and where a replica is reached."""

import hashlib

import msgspec

from argosy.spec.errors import InvalidArgument


def server_of(url: str) -> str:
    """The server of an endpoint's URL, which ends in `/v2/…` or, of a language model, in `/v1`."""
    return url.partition("/v2/")[0].removesuffix("/v1")


class TlsIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS to an address at which the server must show that it is `name`, as in `spiffe://PLATFORM/…`, and asks who
    calls. `files` is a folder on the machine of whoever uses it, with `authorities.pem`, which both sides trust, and a
    file for each name that is shown (see `store/authority.py`)."""

    name: str
    files: str

    def __post_init__(self) -> None:
        if not self.name.startswith("spiffe://"):
            raise InvalidArgument(f"a TLS identity must be spiffe://PLATFORM/…, not '{self.name[:80]}'")
        if not self.files.startswith("/"):
            raise InvalidArgument(f"the folder '{self.files[:200]}' of '{self.name[:80]}' must be an absolute path")

    @property
    def authorities(self) -> str:
        """The certificates that are trusted."""
        return f"{self.files}/authorities.pem"

    def own(self, who: str) -> str:
        """The certificate that `who` (gateway, controller, activator, replica) shows, and its key, in one file."""
        return f"{self.files}/{who}.pem"

    @property
    def host(self) -> str:
        """The name as clients have it that only know names of hosts: a certificate holds both."""
        return f"{hashlib.sha256(self.name.encode()).hexdigest()[:32]}.argosy"


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The path of a Unix socket, or a host (127.0.0.1 where none is given) and port, with TLS where `tls` says so. A
    server that listens at port 0 takes a free one."""

    path: str = ""
    host: str = ""
    port: int = 0
    tls: TlsIdentity | None = None

    def __post_init__(self) -> None:
        if self.path and (self.port or self.tls):
            raise InvalidArgument(f"the Unix socket {self.path[:200]} takes no port and no TLS")
        if not 0 <= self.port <= 65535:
            raise InvalidArgument(f"port must be 0 to 65535, not {self.port}")
        if not self.path and not self.host:
            msgspec.structs.force_setattr(self, "host", "127.0.0.1")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
