"""vLLM itself, on the CPU, with a Llama of two layers."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from argosy.engines.language import vllm
from argosy.engines.language.process import started
from argosy.spec.language import Language

ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get(vllm.PYTHON) or ROOT / ".venv-vllm" / "bin" / "python")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PYTHON.exists(), reason="needs vLLM (5.2 GB): `make vllm` installs it and runs this"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    script = Path(__file__).with_name("tiny_llama.py")
    subprocess.run([PYTHON, script, ROOT / "LICENSE", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(vllm.PYTHON, str(PYTHON))
        with started("vllm", weights, Language(context=256, slots=4), 1, folder, name="tiny") as server:
            yield server


def test_it_answers_greedily_and_always_the_same(server):
    messages = [{"role": "user", "content": "You may copy"}]
    found = {server.ask.chat(messages, most=8, logprobs=True).text for _ in range(3)}
    assert len(found) == 1
    answer = server.ask.chat(messages, most=8, logprobs=True)
    assert (answer.output, len(answer.logprobs), answer.finish) == (8, 8, "length")


def test_it_tells_the_probabilities_of_a_text(server):
    found = server.ask.logprobs("Licensed under the Apache License, Version 2.0")
    assert len(found) > 5
    assert all(each <= 0 for each in found)
    assert found == pytest.approx(server.ask.logprobs("Licensed under the Apache License, Version 2.0"), abs=0.02)


def test_its_load_counts_every_token(server):
    before = server.load()
    answers = [server.ask.complete("Licensed under the", most=5) for _ in range(2)]
    after = server.load()
    assert after.output - before.output == sum(each.output for each in answers) == 10
    assert after.input - before.input == sum(each.input for each in answers)
    assert after.steps > before.steps


def test_it_drains(server):
    timings = []
    caller = threading.Thread(target=lambda: timings.append(server.ask.timed("Licensed", 200)))
    caller.start()
    while not server.load().busy and not timings:
        pass
    server.drain(60)
    assert server.load().busy == 0
    caller.join()
    assert timings[0].output == 200
