"""TLS of a replica that is reached over the network: it shows what it is, and takes only those that may call it."""

import contextlib
import logging
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argosy.process.limit import LogLimit
from argosy.spec.address import TlsIdentity
from argosy.spec.errors import InvalidArgument

if TYPE_CHECKING:
    import grpc

HANDSHAKE = 5.0
"""Seconds for a caller to show its certificate."""
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
"""gRPC logs each caller that it refuses, unless told otherwise before it is imported."""
log = logging.getLogger("argosy.serving.tls")
log.addFilter(LogLimit(5, 60.0))


class _Told(ssl.SSLObject):
    """Says why a handshake failed, which the event loop does not."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            log.warning("a caller is refused: %s; only the platform's own certificates are taken here", why)
            raise


class ServerTls:
    """What a replica shows and trusts, taken up again when the files of its identity are replaced."""

    milliseconds = int(HANDSHAKE * 1000)

    def __init__(self, identity: TlsIdentity) -> None:
        self._files = identity.authorities, identity.own("replica")
        self.context = self._fresh()
        self._stamp = self._stat()
        self._load(self.context)
        self.options = {"ssl": self.context, "ssl_handshake_timeout": HANDSHAKE}

    def renew(self) -> bool:
        """Take up files that have changed, for connections from now on; whether they had. One that cannot be used is
        left until the next is there."""
        with contextlib.suppress(InvalidArgument):
            if (stamp := self._stat()) != self._stamp:
                self._load(self._fresh())
                self._load(self.context)
                self._stamp = stamp
                return True
        return False

    def credentials(self) -> "grpc.ServerCredentials":
        """The same for gRPC, which asks at each handshake."""
        import grpc

        stamp: list[list[int]] = [[]]

        def fetch() -> Any:
            """None while nothing is new; it must not raise."""
            with contextlib.suppress(OSError, InvalidArgument):
                if (now := self._stat()) != stamp[0]:
                    trusted, own = (Path(each).read_bytes() for each in self._files)
                    stamp[0] = now
                    return grpc.ssl_server_certificate_configuration([(own, own)], trusted)
            return None

        return grpc.dynamic_ssl_server_credentials(fetch(), fetch, require_client_authentication=True)

    def _fresh(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0  # so that each connection is checked by today's certificates
        context.set_alpn_protocols(["http/1.1"])
        context.sslobject_class = _Told
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        trusted, own = self._files
        try:
            context.load_verify_locations(trusted)
            context.load_cert_chain(own)
        except OSError as error:
            raise InvalidArgument(f"the certificate {own}, or {trusted}, cannot be used: {error}") from None

    def _stat(self) -> list[int]:
        try:
            return [os.stat(each).st_mtime_ns for each in self._files]
        except OSError as error:
            raise InvalidArgument(f"the replica has no certificate: {error.filename}: {error.strerror}") from None
