"""Locks of what packages require: versions and digests of wheels, and where each is needed. In the store a lock is
attached to its package, as lineage is, and travels with it; one that others wrote is data until it is checked here.
"""

import logging
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib.metadata import distribution

import msgspec

from argosy.packaging import requirements
from argosy.spec.errors import ArgosyError, BadPackage, InvalidArgument
from argosy.spec.settings import Home, load
from argosy.store import open_layout

LOG = logging.getLogger(__name__)

LOCK = "application/vnd.argosy.requirements.v1+txt"
"""The artifact type of a lock in the store, and the media type of its text."""
MOST_BYTES = 1024 * 1024
_ENTRY = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==([A-Za-z0-9.!+]+)(?: ; ([\w .<>=!~'\"()+*-]{1,500}))?"
    r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n",
    re.ASCII,
)


class Attached(msgspec.Struct, frozen=True):
    """A lock that is attached to a package: its text, the number of packages in it, and why it does not count."""

    text: str
    packages: int
    wrong: str = ""


def bounds() -> list[str]:
    """What this version of Argosy asks of the packages that it always uses, as constraints."""
    return [each for each in distribution("argosy").requires or () if "extra ==" not in each]


def check(text: str, lines: Sequence[str]) -> int:
    """The number of packages in a lock. Raises InvalidArgument unless it has nothing but `name==version`, perhaps with
    a marker, and digests by SHA-256 (an option, a URL or a path would say where code comes from), among them all that
    is required on this machine, and keeps to the bounds on what Argosy uses itself."""
    from packaging.markers import Marker
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    versions, count, at = dict[str, str](), 0, 0
    try:
        while at < len(text):
            entry = _ENTRY.match(text, at) if len(text) <= MOST_BYTES else None
            if entry is None:
                line = ascii(text[at : at + 100].partition("\n")[0])
                raise ValueError(f"{line} is no `name==version` with digests, or it has over {MOST_BYTES} bytes")
            name, version = canonicalize_name(entry[1]), str(Version(entry[2]))
            if (not entry[3] or Marker(entry[3]).evaluate()) and versions.setdefault(name, version) != version:
                raise ValueError(f"it has two versions of {name} for the same machine")
            at, count = entry.end(), count + 1
        shared = [line for line in bounds() if canonicalize_name(Requirement(line).name) in versions]
        lacks = requirements.lacking([*lines, *shared], lambda name: versions.get(canonicalize_name(name), ""))
    except (ValueError, RecursionError) as error:  # of a marker or a version, too
        raise InvalidArgument(ascii(str(error))[1:-1][:300]) from None
    if lacks:
        raise InvalidArgument(f"it lacks {', '.join(each.partition(' (')[0] for each in lacks)[:300]}")
    return count


def attached(home: Home, digest: str, lines: Sequence[str]) -> list[Attached]:
    """The locks that are attached to a package of the store, in the order they came, checked against its requirements.
    Those that cannot be read as text are left out."""
    found, layout = list[Attached](), open_layout(home, load(home))
    for referrer in layout.referrers(digest, LOCK):
        with suppress(BadPackage, UnicodeDecodeError):
            text = layout.read(referrer.data).decode()
            try:
                found.append(Attached(text, check(text, lines)))
            except InvalidArgument as error:
                found.append(Attached(text, 0, error.message))
    return found


def attach(home: Home, digest: str, text: str) -> None:
    """Attach a lock to a package of the store, for every machine that has it, where that can be reached."""
    layout = open_layout(home, load(home))
    try:
        layout.attach(digest, LOCK, text.encode(), LOCK)
    except ArgosyError as error:
        LOG.warning("the lock of %s is known to this home alone: %s", digest, error.message)


def pins(lock: str) -> list[str]:
    """The lines `name==version` of a lock of ours."""
    return re.findall(r"^[A-Za-z0-9._-]+==[^ \\;]+", lock, re.MULTILINE)


def without(lock: str, had: Collection[str]) -> str:
    """A lock without those of its lines `name==version` that are in `had`."""
    blocks = re.split(r"\n(?=\S)", lock.rstrip())
    return "".join(f"{block}\n" for block in blocks if block and block.split(" ")[0] not in had)
