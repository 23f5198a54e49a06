import json
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy_simulators.routing import play as play_module
from argosy_simulators.routing.affinity import chain
from argosy_simulators.routing.engine import BLOCK, Cache, Engine, Hardware, Request
from argosy_simulators.routing.loads import LOADS, Conversation, Load
from argosy_simulators.routing.play import Play, curve, fleet, play
from argosy_simulators.routing.routers import ROUTERS


def request(number: int, at: float, prompt: int, output: int, blocks: list[int] | None = None) -> Request:
    hashes = chain(
        blocks if blocks is not None else [hash((number, each)) for each in range((prompt + output) // BLOCK)]
    )
    return Request(number, number, at, prompt, output, hashes[: prompt // BLOCK], hashes)


def run(engine: Engine) -> None:
    while engine.due < float("inf"):
        engine.leap()


def test_an_idle_engine_prefills_in_chunks_then_decodes_a_token_a_step() -> None:
    hardware = Hardware(rate=1000, base=0.01, per_stream=0.001, budget=400)
    engine, one = Engine(hardware), request(1, 5.0, 1000, 11)
    engine.submit(one, 5.0)
    run(engine)
    assert one.first == pytest.approx(5.0 + 1000 / 1000 + 3 * 0.01)
    assert one.ended == pytest.approx(one.first + 10 * 0.011)
    assert (engine.prefilled, engine.cache.pinned, engine.cache.private) == (1000, {}, 0)


def test_what_is_cached_is_not_computed_again_except_for_the_last_token() -> None:
    engine = Engine(Hardware())
    blocks = list(range(20))
    first, again = (request(number, number * 100.0, 10 * BLOCK, BLOCK, blocks) for number in (0, 1))
    engine.submit(first, 0.0)
    run(engine)
    engine.submit(again, 100.0)
    run(engine)
    assert (first.cached, again.cached) == (0, 10 * BLOCK - 1)


def test_a_full_engine_lets_requests_wait_and_pins_what_runs() -> None:
    engine = Engine(Hardware(cache=20 * BLOCK))
    several = [request(number, 0.0, 10 * BLOCK, BLOCK) for number in range(3)]
    for each in several:
        engine.submit(each, 0.0)
    assert engine.due == 0.0
    run(engine)
    assert several[0].ended < several[1].first < several[1].ended < several[2].first
    assert len(engine.cache.free) <= 20
    with pytest.raises(ValueError, match="more than the whole cache"):
        engine.submit(request(9, 0.0, 30 * BLOCK, 1), 0.0)


def test_the_cache_evicts_the_least_recent_and_the_deepest_first() -> None:
    cache, old, new = Cache(6), chain([1, 2, 3]), chain([4, 5, 6])
    for blocks in (old, new):
        cache.pin(blocks, 0)
        cache.unpin(blocks)
    cache.pin([], 2)
    assert (cache.matched(old), cache.matched(new)) == (1, 3)


def test_a_conversation_goes_on_where_it_was() -> None:
    talk = Conversation(LOADS["chat"], 3, random.Random(0))
    one, two = talk.ask(0, 0.0), talk.ask(1, 9.0)
    assert two.prompt > one.prompt + one.output
    assert list(two.blocks[: len(one.answer)]) == list(one.answer)


SHORT = {
    name: msgspec.structs.replace(each, seconds=each.seconds / 6, engines=4, levels=each.levels[:1])
    for name, each in LOADS.items()
}


@pytest.mark.parametrize("router", list(ROUTERS))
def test_every_router_counts_what_is_in_flight(router: str) -> None:
    load = SHORT["chat"]
    run_ = Play(load, 3, router, fleet(load, mixed=True), seed=2)
    requests = run_.run()
    for at in range(load.engines):
        mine = [each for each in requests if each.replica == at]
        known = {
            each.number for _, kind, _, each in run_.events if kind == play_module.END and isinstance(each, Request)
        }
        flying = [each for each in mine if each.ended == float("inf") or each.number in known]
        assert run_.router.in_flight[at] == len(flying)


def short(name: str, level: float, engines: int = 4) -> Load:
    return msgspec.structs.replace(LOADS[name], levels=(level,), engines=engines, seconds=LOADS[name].seconds / 3)


def test_sticky_finds_again_what_round_robin_computes_again() -> None:
    for load in (short("b2b", 12.0, engines=8), short("code", 10.0)):
        [ours], [theirs] = (curve(load, router, [1]).points for router in ("argosy", "round-robin"))
        assert ours.hits > 2 * theirs.hits
        assert ours.ttft_p50 < 0.5 * theirs.ttft_p50


def test_a_run_is_the_same_every_time() -> None:
    load = short("chat", 3.0)
    engines = fleet(load, mixed=False)
    assert play(load, 3.0, "argosy", engines, 7) == play(load, 3.0, "argosy", engines, 7)
    assert play(load, 3.0, "argosy", engines, 7) != play(load, 3.0, "argosy", engines, 8)


def call(*words: str) -> str:
    result = CliRunner().invoke(argosy, ["simulate", "routing", *words], standalone_mode=False)
    if isinstance(result.exception, SystemExit):
        assert result.exception.code == 0, result.output
    return result.output


def test_table_picture_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argosy_simulators.routing.loads.LOADS", SHORT)
    words = ("--load", "b2b,chat", "--router", "round-robin,argosy", "--seeds", "2")
    out = call(*words, "--plot", str(tmp_path / "out.svg"))
    assert out.count("\nargosy ") == 2
    assert "±" in out
    assert ElementTree.parse(tmp_path / "out.svg").getroot().tag.endswith("svg")
    found = json.loads(call(*words, "--json"))
    assert [(one["load"], one["router"]) for one in found[:2]] == [("b2b", "round-robin"), ("b2b", "argosy")]
    assert len(found[0]["knees"]) == 2
    assert found[0]["points"][0]["level"] == 4


def test_names_that_are_none() -> None:
    result = CliRunner().invoke(argosy, ["simulate", "routing", "--router", "best"], standalone_mode=False)
    assert "there is no router 'best'; choose from round-robin," in result.output


@pytest.mark.slow
def test_the_goals_against_round_robin_and_least_request() -> None:
    def knees(load: Load, router: str) -> float:
        return sum(curve(load, router, [1, 2]).knees) / 2

    b2b = msgspec.structs.replace(LOADS["b2b"], levels=(12, 14, 28, 32))
    code = msgspec.structs.replace(LOADS["code"], levels=(15, 20, 30, 35))
    reasoning = msgspec.structs.replace(LOADS["reasoning"], levels=(250, 290))
    assert knees(b2b, "argosy") > 2 * knees(b2b, "round-robin")
    assert knees(code, "argosy") > 1.5 * knees(code, "round-robin")
    assert knees(reasoning, "argosy") >= 0.995 * knees(reasoning, "least-request")
