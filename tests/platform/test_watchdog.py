import asyncio
import contextlib

from argosy.platform.watchdog import watch


class Gateway:
    def __init__(self, answers: list[bool]) -> None:
        self.answers = answers
        self.killed: list[int] = []

    async def alive(self) -> bool:
        if not self.answers:
            raise asyncio.CancelledError
        return self.answers.pop(0)

    async def kill(self) -> None:
        self.killed.append(len(self.answers))


async def test_only_a_row_of_missed_answers_ends_a_gateway():
    gateway, told = Gateway([False, False, True, False, False, False, True, False]), []
    with contextlib.suppress(asyncio.CancelledError):
        await watch(gateway, lambda: told.append(1), period=0.0)
    assert gateway.killed == [2]
    assert told == [1]
