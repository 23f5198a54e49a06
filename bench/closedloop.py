"""A closed-loop HTTP client for slow models, where answers come in batches.

Counting answers in a window is wrong by up to a whole batch at its ends, which is much when only ten fit into it.
Here each connection gives its own rate, from its first answer after the warm-up to its last; the rates are added up.
"""

import time
from collections.abc import Mapping, Sequence

from bench.load import Load, emit, percentile
from bench.openloop import Client, parser, request

WARM_SECONDS = 1.0


def steady_rate(answers: Mapping[int, Sequence[float]]) -> float:
    """Answers a second over all connections, from the times of each connection's answers."""
    if not answers or any(len(times) < 2 for times in answers.values()):
        raise ValueError("too short a run: a connection had fewer than two answers after the warm-up")
    return sum((len(times) - 1) / (times[-1] - times[0]) for times in answers.values())


def run(client: Client, connections: int, seconds: float) -> dict[int, list[float]]:
    """Keeps one request in flight on each connection; the times of the answers after the warm-up by connection."""
    for _ in range(connections):
        client.connect()
    start = now = time.perf_counter()
    answers: dict[int, list[float]] = {fd: [] for fd in client.sockets}
    while client.idle:
        client.send(now)
    while now < start + WARM_SECONDS + seconds:
        client.receive()
        now = time.perf_counter()
        while client.idle:
            if now > start + WARM_SECONDS:
                answers[client.idle[0]].append(now)
            client.send(now)
    return answers


def main() -> None:
    options = parser()
    options.add_argument("--connections", type=int, required=True)
    a = options.parse_args()
    client = Client(a.port, request(a))
    answers = run(client, a.connections, a.seconds)
    total = sum(map(len, answers.values()))
    took = sorted(client.latencies)
    p50, p99 = (percentile(took, q) * 1e6 for q in (0.5, 0.99))
    emit(Load(total, total / steady_rate(answers), client.errors, p50, p99))


if __name__ == "__main__":
    main()
