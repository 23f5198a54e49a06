"""The replicas' own metrics, read from their addresses, with labels that say whose they are.

A replica runs other people's models: only families that we know are taken of what it says, and not more than so much.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence

from argosy.gateway.admin import Admin
from argosy.serving.metrics import OWN
from argosy.spec.errors import ArgosyError
from argosy.spec.status import ReplicaStatus

SECONDS, ALL = 2.0, 6.0
"""How long a replica may take to answer, and how long all of them: who scrapes does not wait for longer."""
MOST_BYTES = 256 * 1024
MOST_LINES = 400
AT_ONCE = 16

_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.){0,200})"(?:,|$)')
_THEIRS = ("model", "version")
"""Labels of a replica that ours say better."""


ReplicaPage = tuple[ReplicaStatus, str | None]
"""A replica and the text of its metrics; None where it does not answer in time."""


async def read(replicas: Sequence[ReplicaStatus]) -> list[ReplicaPage]:
    """The metrics of each; where there are more than can be asked, those of the first."""
    pages, left = list[ReplicaPage](), iter(replicas)

    async def ask_some() -> None:
        for replica in left:
            try:
                body = await Admin(replica.http, SECONDS).get("/metrics")
            except (ArgosyError, OSError, ValueError):
                body = None
            fits = body is not None and len(body) <= MOST_BYTES
            pages.append((replica, body.decode("utf-8", "replace") if body and fits else None))

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ALL):
            await asyncio.gather(*(ask_some() for _ in range(AT_ONCE)))
    return sorted(pages, key=lambda page: page[0].id)


def merged(pages: Iterable[ReplicaPage]) -> str:
    """All of it in Prometheus' text format, each family once; `argosy_replica_up` says who has answered."""
    lines = ["# HELP argosy_replica_up 1 if the replica told its metrics", "# TYPE argosy_replica_up gauge"]
    found: dict[str, list[str]] = {}
    for replica, text in pages:
        ours = labels(replica)
        lines.append(f"argosy_replica_up{{{ours}}} {0 if text is None else 1}")
        for family, line in samples(text or "", ours):
            found.setdefault(family, []).append(line)
    for family, (kind, text) in OWN.items():
        if family in found:
            lines += [f"# HELP {family} {text}", f"# TYPE {family} {kind}", *found[family]]
    return "\n".join(lines) + "\n"


def labels(replica: ReplicaStatus) -> str:
    """Endpoint, revision, version and id: names that need no escaping."""
    pairs = [(name, getattr(replica, name)) for name in ("endpoint", "revision", "version")]
    return ",".join(f'{name}="{value}"' for name, value in (*pairs, ("replica", replica.id)))


def samples(text: str, ours: str) -> Iterator[tuple[str, str]]:
    """Family and line of every sample that is well formed and known, at most so many."""
    count = 0
    for line in text.split("\n"):
        found = _SAMPLE.fullmatch(line)
        if found is None or (family := _family(found[1])) is None or not _number(found[3]):
            continue
        pairs = list(_LABEL.finditer(found[2] or ""))
        if sum(len(each[0]) for each in pairs) != len(found[2] or ""):
            continue
        if (count := count + 1) > MOST_LINES:
            return
        theirs = [f'{each[1]}="{each[2]}"' for each in pairs if each[1] not in _THEIRS]
        yield family, f"{found[1]}{{{','.join([ours, *theirs])}}} {found[3]}"


def _family(sample: str) -> str | None:
    if sample in OWN:
        return sample
    base = re.sub(r"_(bucket|sum|count)$", "", sample)
    return base if base != sample and OWN.get(base, ("", ""))[0] == "histogram" else None


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return len(text) <= 32
