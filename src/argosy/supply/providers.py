"""The providers that the settings name, by the names they have there."""

from pathlib import Path

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.spec.provider import KubernetesProvider, LocalProvider, RayProvider, ReplayProvider, SshProvider
from argosy.spec.settings import Settings
from argosy.supply import catalogue
from argosy.supply.machines import Machines
from argosy.supply.provider import Provider
from argosy.supply.replay import Replay, Trace
from argosy.supply.sky import SkyProvider


def of(settings: Settings, folder: Path | None = None) -> dict[str, Provider]:
    """None is asked anything yet. The claim of this machine lies in `folder`, or in the home folder of the user. Raises
    InvalidArgument."""
    found: dict[str, Provider] = {cloud: SkyProvider(cloud) for cloud in settings.supply.sky}
    for name, each in settings.supply.providers.items():
        match each:
            case LocalProvider():
                found[name] = Machines.local(name, each.host, folder or Path.home())
            case SshProvider():
                found[name] = Machines.ssh(name, each)
            case KubernetesProvider():
                from argosy.supply.kubernetes import KubernetesNodes

                found[name] = KubernetesNodes(name, each, settings.kubernetes)
            case RayProvider():
                from argosy.supply.ray import RayNodes

                found[name] = RayNodes(name, each, settings.ray)
            case ReplayProvider():
                found[name] = _played(name, each, settings.supply.untrusted)
    return found


def _played(name: str, settings: ReplayProvider, untrusted: tuple[str, ...]) -> Replay:
    path = Path(settings.catalogue)
    try:
        offers = catalogue.read(path.read_bytes(), name, path.stat().st_mtime, untrusted).offers
        files = sorted(Path(settings.traces).glob("*.json")) if settings.traces else []
        traces = {each.stem.partition("_")[0]: _trace(each) for each in files}
    except OSError as error:
        raise InvalidArgument(f"supply.providers.{name}: {error.filename}: {error.strerror}") from None
    return Replay(
        name,
        offers,
        ready=settings.ready,
        quotas=settings.quotas,
        traces=traces,
        faults=settings.faults,
        seed=settings.seed,
    )


class _File(msgspec.Struct):
    metadata: dict[str, float]
    data: tuple[int, ...]


def _trace(path: Path) -> Trace:
    """A file of the public spot traces: {"metadata": {"gap_seconds": 195}, "data": [0, 1, …]}."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        return Trace(seconds=found.metadata["gap_seconds"], capacity=found.data)
    except (msgspec.DecodeError, KeyError) as error:
        raise InvalidArgument(f"{path} is no trace of spot capacity: {error}") from None
