from bench.rounds import Bench
from bench.servers import FASTAPI, MLSERVER, Unavailable


def test_rounds_interleave_and_a_failure_leaves_out_only_its_subject():
    calls = []

    def fail() -> None:
        calls.append("b")
        raise Unavailable("no such program")

    bench = Bench(rounds=2)
    bench.interleave("json", [("a", lambda: calls.append("a")), ("b", fail), ("c", lambda: calls.append("c"))])
    assert calls == ["a", "b", "c", "a", "c"]
    assert bench.results.failures == {"json: b": "no such program"}


def test_only_chosen_peers_are_wanted():
    assert Bench(peers=[MLSERVER]).wanted(FASTAPI, MLSERVER) == [MLSERVER]
