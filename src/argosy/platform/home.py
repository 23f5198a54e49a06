"""The home folder as the platform needs it, and the gateway's configuration in it."""

import errno
import os
import tempfile
from pathlib import Path

from argosy.engines.base import require
from argosy.gateway.model import GatewayConfig, Tls
from argosy.gateway.tracing import Collector
from argosy.process import managed, sandbox
from argosy.process.cores import memory
from argosy.quota.server import quota_socket
from argosy.serving.port import loopback, open_many
from argosy.spec.alerts import check_set
from argosy.spec.errors import InvalidArgument, StorageFull
from argosy.spec.recorder import gateway_socket
from argosy.spec.settings import GatewaySettings, Home, Settings
from argosy.spec.tracing import Tracing
from argosy.targets import launch

GIB = 1024**3


def prepare(home: Home, settings: Settings) -> None:
    """Make the folders, try to write, check what is set. Raises InvalidArgument, StorageFull."""
    try:
        home.create()
        with tempfile.TemporaryFile(dir=home.run) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space left under {home.root}; nothing was started") from None
        raise InvalidArgument(
            f"the home folder {home.root} cannot be written: {error.strerror}; set ARGOSY_HOME to one that can"
        ) from None
    launch.prepare(home)
    if not loopback(settings.control.host) and not settings.control.expose:
        raise InvalidArgument(
            f"control.host is {settings.control.host}, which other machines can reach: anyone with the token could "
            "start models there. Set control.expose to true (ARGOSY_CONTROL_EXPOSE=true) if that is meant"
        )
    check_set(settings.alerts, os.environ)


def prepare_process(home: Home, settings: Settings) -> None:
    """Prepare the home, and this process for what it starts there. Raises as `prepare` does."""
    prepare(home, settings)
    sandbox.hide()
    open_many()
    managed.mark(home.root)


def gateway_config(home: Home, settings: GatewaySettings, tracing: Tracing | None = None) -> GatewayConfig:
    """The gateway's configuration for this home. Raises InvalidArgument, MissingExtra."""
    return GatewayConfig(
        run_dir=str(home.gateway.absolute()),
        host=settings.host,
        port=settings.port,
        tls=_tls(settings),
        collector=_collector(tracing) if tracing and tracing.url else None,
        labels=str(home.labels.absolute()),
        batches=True,
        devices=str(home.devices.absolute()),
        quota=str(quota_socket(home.run).absolute()),
        recorder=str(gateway_socket(home).absolute()),
        access_log=str(home.logs / "gateway.access.log"),
        log=str(home.logs / "gateway.log"),
        max_body_bytes=settings.max_body_bytes,
        max_connections=settings.max_connections,
        max_connections_per_address=settings.max_connections_per_address,
        max_heap_bytes=settings.max_heap_bytes or min(max(memory() // 8, GIB // 4), GIB),
        concurrency=settings.concurrency,
    )


def _collector(tracing: Tracing) -> Collector:
    """Raises MissingExtra here, where somebody looks, rather than in every replica."""
    require("opentelemetry.proto.collector.trace.v1.trace_service_pb2", "tracing", "sending traces")
    headers = tracing.secrets(os.environ)
    return Collector(url=tracing.target, share=tracing.share, callers=tracing.callers, headers=headers)


def _tls(settings: GatewaySettings) -> Tls | None:
    if not settings.tls_cert and not settings.tls_key:
        return None
    if not settings.tls_cert or not settings.tls_key:
        raise InvalidArgument("gateway.tls_cert and gateway.tls_key go together: set both or neither")
    for name, path in (("tls_cert", settings.tls_cert), ("tls_key", settings.tls_key)):
        if not os.access(path, os.R_OK):
            raise InvalidArgument(f"gateway.{name}: {path} cannot be read")
    return Tls(str(Path(settings.tls_cert).absolute()), str(Path(settings.tls_key).absolute()))
