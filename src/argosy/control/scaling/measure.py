"""What a replica's own counters say of its work, read from its address."""

import re

import msgspec

from argosy.gateway.admin import Admin
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Replica

SECONDS = 1.0
_LINE = re.compile(r"^(\w+)(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since its start: requests `answered`, seconds that it was `busy`; and how many wait in its queue now.

    Of a replica's two resources, its engine and its event loop, `busy` is the one that was busy longer: the other has
    room for as many requests at least.
    """

    answered: float = 0.0
    busy: float = 0.0
    queued: int = 0


async def measure(replica: Replica) -> Work | None:
    """Its counters; None where it does not answer within a second."""
    try:
        text = (await Admin(replica.http, SECONDS).get("/metrics")).decode()
    except (ArgosyError, OSError, ValueError):
        return None
    return read(text)


def read(text: str) -> Work:
    """The counters in a page of Prometheus metrics, of all its models together."""
    found: dict[str, float] = {}
    for name, value in _LINE.findall(text):
        found[name] = found.get(name, 0.0) + float(value)
    answered = found.get("nv_inference_request_success_total", 0.0) + found.get(
        "nv_inference_request_failure_total", 0.0
    )
    engine, loop = (found.get(f"argosy_{name}_seconds_total", 0.0) for name in ("engine", "loop"))
    return Work(answered=answered, busy=max(engine, loop), queued=int(found.get("argosy_queued_requests", 0.0)))
