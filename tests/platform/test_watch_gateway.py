import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

from argosy.platform.supervisor import watch_gateway


class Gateway:
    def __init__(self, answers: list[bool]) -> None:
        self.answers = answers
        self.killed: list[int] = []
        self.process = SimpleNamespace(alive=lambda: True, kill=self.kill)

    async def alive(self) -> bool:
        if not self.answers:
            raise asyncio.CancelledError
        return self.answers.pop(0)

    async def kill(self) -> None:
        self.killed.append(len(self.answers))


async def test_only_a_row_of_missed_answers_ends_a_gateway():
    gateway: Any = Gateway([False, False, True, False, False, False, True, False])
    told: list[int] = []
    with contextlib.suppress(asyncio.CancelledError):
        await watch_gateway(gateway, lambda: told.append(1), period=0.0)
    assert gateway.killed == [2]
    assert told == [1]
