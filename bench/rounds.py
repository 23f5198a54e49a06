"""Interleaved rounds (A B C, A B C, ...): the noise of a shared machine hits every subject alike."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import envs, models, payload
from bench.results import Results
from bench.servers import PEERS, SERVER_CORES, Running, Server, Unavailable, running


@dataclass
class Bench:
    """The settings of one run and what it has found so far."""

    seconds: float = 5.0
    rounds: int = 3
    peers: Sequence[Server] = tuple(PEERS)
    results: Results = field(default_factory=Results)

    @property
    def folder(self) -> Path:
        return envs.WORK

    def wanted(self, *servers: Server) -> list[Server]:
        """Those of the servers that are chosen for this run."""
        return [s for s in servers if s in self.peers]

    def interleave(self, case: str, subjects: Sequence[tuple[str, Callable[[], None]]]) -> None:
        """Calls every subject once a round; one that fails is left out from then on, and the reason is kept."""
        for i in range(self.rounds):
            for name, measure in subjects:
                key = f"{case}: {name}"
                if key in self.results.failures:
                    continue
                print(f"  {case} · round {i + 1}/{self.rounds} · {name}", file=sys.stderr, flush=True)
                try:
                    measure()
                except Unavailable as e:
                    self.results.failures[key] = str(e)


def expected_label(case: models.Case) -> int:
    """What the engine itself answers for the row."""
    return int(models.session(case.path).run(None, case.row)[0].ravel()[0])


@contextmanager
def digits_server(
    server: Server, case: models.Case, cores: tuple[int, ...] = SERVER_CORES
) -> Iterator[tuple[Running, bytes]]:
    """The server with the digits model, its answer checked against the engine's, and the JSON body of one row."""
    body = payload.json_body(case.row)
    with running(server, case.path, body, payload.JSON, cores) as r:
        label, wanted = payload.json_label(r.answer)[0], expected_label(case)
        if label != wanted:
            raise Unavailable(f"it answers {label}, the engine {wanted}")
        yield r, body
