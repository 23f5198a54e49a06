"""Where a server listens and where a replica is reached."""

import msgspec

from argosy.spec.errors import InvalidArgument


class TlsIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """TLS to an address. The server must show a certificate for `name` that one of `authorities` signed; `certificate`
    and `key` are shown to it where it asks who calls. Paths of PEM files on the caller's machine."""

    name: str
    authorities: str
    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        for path in filter(None, (self.authorities, self.certificate, self.key)):
            if not path.startswith("/"):
                raise InvalidArgument(f"TLS file '{path}' of '{self.name[:80]}' must be an absolute path")
        if not self.name or not self.authorities or bool(self.certificate) != bool(self.key):
            raise InvalidArgument("a TLS identity needs name and authorities, and certificate and key both or neither")


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
