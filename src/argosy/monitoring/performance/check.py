"""What a declared monitor needs of the model, before anything is written."""

from argosy.monitoring.performance import reference
from argosy.monitoring.performance.roles import roles
from argosy.packaging.package import Package
from argosy.profiles.layout import layout
from argosy.profiles.privacy import Hidden
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home


def check_monitorable(home: Home, endpoint: Endpoint, package: Package) -> None:
    """Raises InvalidArgument where the monitor names columns that the model lacks or the log hides, or a reference
    that does not fit. A pinned reference is kept."""
    monitor = endpoint.monitor
    if monitor is None:
        return
    if monitor.segments or endpoint.payload is None:
        _check_segments(monitor.segments, endpoint.payload or PayloadLog(), package)
    if judged(endpoint) and endpoint.payload is not None:
        found = roles(monitor, package.manifest.signature, endpoint.payload)
        if monitor.reference:
            reference.check(home, monitor, package, endpoint.payload, found)


def judged(endpoint: Endpoint) -> bool:
    """Whether its performance is looked at: a monitor with nothing but segments or a season is about drift alone."""
    monitor = endpoint.monitor
    if monitor is None or endpoint.payload is None:
        return False
    return bool(monitor.judges) or not (monitor.segments or monitor.season != "none")


def _check_segments(segments: tuple[str, ...], log: PayloadLog, package: Package) -> None:
    profile = package.profile()
    if profile is None:
        raise InvalidArgument(
            f"monitor: '{package.manifest.name}' was pushed without sample data, so that there is nothing to compare "
            "its columns with: push it with --sample FILE"
        )
    found = layout(profile, package.manifest.signature)
    hidden = Hidden(found, log.redact, log.hash)
    for name in segments:
        place = found.index(name)
        if not found.columns[place].detailed:
            raise InvalidArgument(f"monitor.segments: '{name[:80]}' has no values in the model's profile")
        if hidden.covers(name):
            raise InvalidArgument(
                f"monitor.segments: '{name[:80]}' is hidden in the payload log, and segments would tell its values"
            )
