"""The configuration of one replica: the package it serves, under which name, where it listens, how it runs."""

from pathlib import Path
from typing import Literal

import msgspec

from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import InvalidArgument
from argosy.spec.strict import decode
from argosy.spec.tracing import Tracing


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model package (an unpacked folder) and the name and version it is served under. `trusted`: it may run code of
    its author; without, a package that would is refused. `exact`: what is loaded must have `digest`."""

    name: str
    package: str
    trusted: bool = False
    exact: bool = False
    version: str = "1"
    digest: str = ""
    revision: str = ""


class ReplicaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of a replica process. `grpc` None: no gRPC. Where an address has a TLS identity, it is
    what the replica shows. `health`: where it also answers, without TLS, whether it lives and is ready, and nothing
    else. `recorder`: the Unix socket on which it awaits whoever records requests; without one, they come by its HTTP
    listener where that has TLS."""

    replica: str = "local"
    models: tuple[ModelConfig, ...]
    http: Address = Address()
    grpc: Address | None = None
    health: Address | None = None
    runtime: Runtime = Runtime()
    recorder: str = ""
    tracing: Tracing = Tracing()
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def read(path: Path) -> ReplicaConfig:
    """Read a configuration file. Raises InvalidArgument."""
    try:
        config = decode(path.read_bytes(), ReplicaConfig, str(path))
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None
    if not config.models:
        raise InvalidArgument("a replica needs at least one model")
    return config
