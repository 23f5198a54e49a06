import shlex
from contextlib import ExitStack

import pytest

from bench import envs, fronts
from bench.cases import llm
from bench.peers import instant_engine
from bench.rounds import Bench
from bench.servers import Command, Ports, Unavailable
from tests.language.fake_engine import running
from tests.ports import free

PORTS = Ports(2, 3, 4)


def test_an_answer_says_what_it_used_at_its_end():
    assert llm.used(b'data: {"usage":{"completion_tokens": 3}}\n\ndata: {"usage":{"completion_tokens":64}}\n\n') == 64
    with pytest.raises(Unavailable, match="does not say"):
        llm.used(b"data: [DONE]\n\n")


@pytest.mark.parametrize("front", [*fronts.FRONTS[1:], fronts.LLAMA_CPP_PYTHON], ids=lambda front: front.name)
def test_a_peer_that_is_not_there_says_how_it_is_had(front, tmp_path, monkeypatch):
    monkeypatch.setattr(envs, "ENVS", tmp_path / "none")
    monkeypatch.delenv("BENCH_BIFROST", raising=False)
    monkeypatch.delenv("BENCH_AGENTGATEWAY", raising=False)
    monkeypatch.setenv(fronts.WEIGHTS, "/tmp/m.gguf")
    with pytest.raises(Unavailable, match=r"python -m bench\.envs|may name its command"):
        front.command(1, PORTS, tmp_path)


def test_a_variable_names_the_command_of_a_peer(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_BIFROST", "bifrost -port {port} -to {engine} '{folder}/a b'")
    front = next(each for each in fronts.FRONTS if each.name == "bifrost")
    assert front.command(1, PORTS, tmp_path) == Command(["bifrost", "-port", "2", "-to", "1", f"{tmp_path}/a b"])


def test_without_a_gpu_the_command_for_one_is_told(monkeypatch):
    monkeypatch.setattr(fronts, "gpus", lambda: ())
    told = fronts.dry_run().split("`")
    assert told[1] == "BENCH_LLM_WEIGHTS=FOLDER python -m bench --case llm"
    words = shlex.split(told[3])
    assert words[words.index("--model") + 1] == "FOLDER"
    assert "vllm.entrypoints.openai.api_server" in words
    assert "--enforce-eager" not in words
    monkeypatch.setattr(fronts, "gpus", lambda: ("/dev/nvidia0",))
    assert fronts.dry_run() == ""


def test_what_cannot_be_started_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(envs, "ENVS", tmp_path / "none")
    bench = Bench()
    with ExitStack() as stack:
        assert llm.ready(bench, stack, "tokens", [fronts.FRONTS[1]], 1) == {}
    assert "litellm" in bench.results.failures["llm, tokens: litellm"]


def test_the_instant_engine_reads_a_request_before_it_answers():
    listener = instant_engine.configuration(1)["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert [each["name"] for each in manager["http_filters"]] == ["buffer", "router"]


@pytest.mark.slow
def test_our_gateway_is_measured_with_its_ledger_in_front_of_engines():
    with ExitStack() as stack:
        port = free()
        stack.enter_context(running(port=port, model=fronts.MODEL))
        through = stack.enter_context(fronts.started(fronts.ARGOSY, port))
        assert llm.tokens_per_second(through.ports.http, 2, 0.2) > 0
        assert len(llm.first_tokens(port, through, 1, 5)) == 3
    with ExitStack() as stack:
        quick = stack.enter_context(llm.instant())
        rate, cost, _ = llm.rates(quick, stack.enter_context(fronts.started(fronts.ARGOSY, quick)), 1)
        assert rate > 0
        assert cost > 0
