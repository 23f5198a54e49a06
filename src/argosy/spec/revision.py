"""A revision, its replicas, and the status of both."""

import math
from typing import Literal

import msgspec

from argosy.spec.address import Address
from argosy.spec.endpoint import Resources, Runtime
from argosy.spec.language import AtZero, Language

ReplicaPhase = Literal["starting", "ready", "draining", "stopping", "asleep"]


class Revision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version with one runtime configuration behind one endpoint. Immutable; `id` follows from the rest, but for
    adapters that running replicas load.

    A target replaces replicas that use more memory than `resources` declare, and gives engines so many threads. All
    replicas of a revision run in one `target`. `language`: of a language model, whose `engine` answers callers by a
    server of its own, how that runs. `encodes`: it answers for embeddings or ranks texts."""

    id: str
    endpoint: str
    model: str
    version: str
    digest: str
    runtime: Runtime = Runtime()
    resources: Resources = Resources()
    target: str = "local"
    language: Language | None = None
    engine: str = ""
    encodes: bool = False

    @property
    def at_zero(self) -> AtZero:
        """What stays of its last replica that is not wanted any more."""
        return self.language.at_zero if self.language else "absent"

    def threads(self, share: int) -> int:
        """The threads of its engine: declared, or as many as it has cores (rounded up), or its share of the machine."""
        return self.runtime.threads or math.ceil(self.resources.cpu) or share


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running copy: where it is reached for HTTP, for gRPC, by the recorder and, where it is a language model, for
    its engine's own server. Only `ready` ones take new requests; one that is `asleep` can soon be ready.

    `host`: the machine it runs on, as its target names it; empty for this one. `started`: seconds since 1970; `doing`
    says what one that starts is at. `adapters` are loaded and checked.
    """

    id: str
    endpoint: str
    revision: str
    phase: ReplicaPhase
    host: str = ""
    http: Address
    grpc: Address | None = None
    recorder: Address | None = None
    engine: Address | None = None
    started: float
    restarts: int = 0
    doing: str = ""
    adapters: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """Names this run of it: a replica that is started again keeps its id."""
        return f"{self.id}/{self.started}"


class ResourceUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica has used: processor seconds since its start, and resident bytes now. `pid` is that of its process
    where it runs on this machine, else 0."""

    cpu: float = 0.0
    memory: int = 0
    pid: int = 0


class RevisionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a revision stands. `failed` says why its replicas do not become ready (empty: nothing known against it).
    `pending` says what replicas that are wanted wait for (a node with room, an image), which is no failure.

    `replaced` counts replicas that ended unasked and had to be replaced, since this target runs; `trouble`
    says why the last one did. `prefetched`: without a replica, nearly all of its weights are in the page cache.
    """

    replicas: tuple[Replica, ...] = ()
    failed: str = ""
    pending: str = ""
    replaced: int = 0
    trouble: str = ""
    prefetched: bool = False

    @property
    def ready(self) -> int:
        """How many replicas take requests."""
        return sum(replica.phase == "ready" for replica in self.replicas)
