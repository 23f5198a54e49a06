"""`argosy chat` against a fake engine."""

import re

import pytest

from tests.language.fake_engine import running
from tests.ports import free


@pytest.fixture(scope="module")
def engine():
    with running(port=free(), tokens=4) as fake:
        yield fake


def test_one_message_is_answered_and_counted(run, engine):
    result = run("chat", "gemma", "--url", engine.url, "--system", "Be brief.", "-m", "Hello", "--max-tokens", 3)
    assert (result.exit_code, result.stdout) == (0, "w0 w1 w2\n")
    assert re.fullmatch(r"\d+ \+ 3 tokens, first after [\d.]+ s(, [\d.]+ tokens/s)?\n", result.stderr)
    sent = engine.told()["seen"][-1]["body"]
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}
    assert (sent["messages"], sent["max_tokens"], "temperature" in sent) == ([system, user], 3, False)


def test_a_message_comes_from_standard_input(run, engine):
    assert run("chat", "gemma", "--url", engine.url, "-m", "-", input="a\nb").exit_code == 0
    assert engine.told()["seen"][-1]["body"]["messages"] == [{"role": "user", "content": "a\nb"}]


def test_a_conversation_goes_on_with_what_was_said(run, engine):
    result = run("chat", "gemma", "--url", engine.url, "--temperature", 0, input="Hello\nAnd then?\n\nnever")
    assert result.stdout == "w0 w1 w2 w3\n" * 2
    messages = engine.told()["seen"][-1]["body"]["messages"]
    assert [each["content"] for each in messages] == ["Hello", "w0 w1 w2 w3", "And then?"]
    assert [each["role"] for each in messages] == ["user", "assistant", "user"]


def test_what_the_server_says_is_the_error(run, tmp_path):
    with running(port=free(), context=2) as small:
        refused = run("chat", "gemma", "--url", small.url, "-m", "a long question")
    assert refused.exit_code == 1
    assert "exceeds the available context size" in refused.stderr
    gone = run("chat", "gemma", "--url", small.url, "-m", "Hello")
    assert gone.exit_code != 0
    assert "nobody answers at" in gone.stderr


def test_an_answer_that_breaks_off_is_an_error(run):
    with running(port=free(), fault="die", after=2) as dying:
        result = run("chat", "gemma", "--url", dying.url, "-m", "Hello")
    assert result.exit_code != 0
    assert "the answer broke off" in result.stderr
