"""The targets of a home, put together from its settings and its store."""

import logging
from collections.abc import Callable, Sequence

from argosy.language.config import beside
from argosy.packaging import environment
from argosy.packaging.package import stored
from argosy.spec.revision import Revision
from argosy.spec.settings import Home, Settings
from argosy.store.store import Store
from argosy.targets.base import Admit, Admitted, Target
from argosy.targets.launch import COMMAND, Unpacked
from argosy.targets.local import LocalTarget
from argosy.targets.several import Targets
from argosy.trust.policy import admit_stored

LOG = logging.getLogger(__name__)

TargetOf = Callable[[Home, Settings, Store], Target]
"""Makes the local target of a home."""


def local_target(home: Home, settings: Settings, store: Store, command: Sequence[str] = COMMAND) -> Target:
    """Processes of this machine. `command` starts a replica, with its configuration file as the last argument."""

    admit = admission_to(settings, store)

    def fetch(revision: Revision) -> Unpacked:
        admitted, found = admit(revision), stored(store, revision.digest)
        needed = environment.prepare(home, found.needs, LOG.info)
        named = beside(revision.language) if revision.language else ()
        more = {ref: stored(store, store.registry.resolve(ref).digest).folder for ref in named}
        return Unpacked(found.folder, admitted.trusted, admitted.signed, needed, more)

    replicas, signs = settings.replicas, lambda: store.authority
    envoy, network = settings.gateway.envoy, replicas.network
    tracing = settings.tracing
    return LocalTarget(home, fetch, signs=signs, command=command, tracing=tracing, network=network, envoy=envoy)


def admission_to(settings: Settings, store: Store) -> Admit:
    """What decides whether a package of this store may be loaded."""

    def admit(revision: Revision) -> Admitted:
        digest, ref = revision.digest, f"{revision.model}:{revision.version}"
        signed = admit_stored(settings.signatures, store.layout, digest, ref, revision.endpoint)
        return Admitted(trusted=store.registry.trusted(digest), signed=signed)

    return admit


def targets(home: Home, settings: Settings, store: Store, local: TargetOf = local_target) -> Targets:
    """The targets of a home: this machine, and what the settings name."""
    found: dict[str, Target] = {"local": local(home, settings, store)}
    admit, name = admission_to(settings, store), store.database.platform()
    if settings.kubernetes.image:
        from argosy.targets.kubernetes.target import KubernetesTarget

        found["kubernetes"] = KubernetesTarget(home, settings, admit, store.authority, platform=name)
    if settings.ray.address:
        from argosy.targets.ray.target import RayTarget

        found["ray"] = RayTarget(home, settings, admit, platform=name, signs=lambda: store.authority)
    return Targets(found)
