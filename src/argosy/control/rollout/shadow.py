"""What both arms answered while a candidate is in the shadow: fetched from their replicas at every look, and paired."""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from argosy.gateway.admin import Admin
from argosy.monitoring.analysis.pairs import Joined, Waiting, join
from argosy.serving import answers
from argosy.serving.answers import Handed, RecordedAnswer
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Replica

PATH = "/argosy/answers"
SECONDS = 1.0


class Shadows:
    """Answers of each endpoint's rollout that wait for their other half. They are not kept when the controller ends."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[int, Waiting]] = {}

    async def look(
        self, name: str, number: int, stable: Sequence[Replica], candidate: Sequence[Replica], now: float
    ) -> Joined:
        """The pairs that came since the last look at the `number`-th rollout."""
        found = await asyncio.gather(_all(stable), _all(candidate))
        known, waiting = self._waiting.get(name, (number, Waiting()))
        joined, waiting = join(waiting if known == number else Waiting(), *found, now)
        self._waiting[name] = (number, waiting)
        return joined

    def keep(self, names: Iterable[str]) -> None:
        """Forget all but these."""
        self._waiting = {name: self._waiting[name] for name in names if name in self._waiting}


async def _all(replicas: Sequence[Replica]) -> list[RecordedAnswer]:
    handed = await asyncio.gather(*(fetch(each) for each in replicas))
    return [answer for each in handed for answer in each.answers]


async def fetch(replica: Replica) -> Handed:
    """The answers that a replica has kept, which it forgets; none where it does not answer within a second."""
    try:
        return answers.read(await Admin(replica.http, SECONDS).post(PATH))
    except (ArgosyError, OSError, ValueError, msgspec.MsgspecError):
        return Handed()
