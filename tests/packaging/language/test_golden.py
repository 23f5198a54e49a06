import math
from types import SimpleNamespace

import pytest

from argosy.packaging.language import golden
from argosy.packaging.language.engine import identity
from argosy.spec.errors import BadPackage, GoldenMismatch, InvalidArgument

HERE = "llamacpp 1 on x86_64"


class Stub:
    """An engine that answers as it is told: `words` by prompt, the same logarithm for each of `count` tokens."""

    def __init__(self, logprob=-1.0, count=10, words=None):
        self.logprob, self.count, self.words = logprob, count, words or {}
        self.asked = 0

    def complete(self, prompt, *, most):
        self.asked += 1
        return SimpleNamespace(text=self.words.get(prompt, f"{prompt} and so on"), output=most)

    def chat(self, messages, *, most):
        return self.complete(messages[-1]["content"], most=most)

    def logprobs(self, text):
        return [self.logprob] * self.count


@pytest.fixture
def made():
    return golden.make(Stub(), HERE, golden.prompts(None, False), 0.02)


def test_examples_are_asked_twice_when_they_are_made(made):
    stub = Stub()
    golden.make(stub, HERE, golden.prompts(None, True), 0.02)
    assert stub.asked == 2 * len(golden.QUESTIONS)
    assert made.perplexity == pytest.approx(math.e)
    assert "3 answers of up to 32 tokens" in made.described()


def test_the_same_engine_has_to_answer_the_same(made):
    found = golden.replay(Stub(-1.005), HERE, made)
    assert (found.exact, found.tokens) == (True, 96)
    assert "3 answers, 96 tokens in all, agree" in found.said
    with pytest.raises(GoldenMismatch, match=r"example 2: the answer differs from its letter 3 on: want 'def add"):
        golden.replay(Stub(words={golden.PROMPTS[1]: "de novo"}), HERE, made)
    with pytest.raises(GoldenMismatch, match=r"mean log-probability -1\.0200, and -1\.0000 when it was pushed"):
        golden.replay(Stub(-1.02), HERE, made)
    with pytest.raises(GoldenMismatch, match="10 tokens, and 11 when"):
        golden.replay(Stub(count=9), HERE, made)


@pytest.mark.parametrize("there", ["llamacpp 2 on x86_64", "vllm 1 on H100", f"{HERE}, KV cache of q8_0"])
def test_elsewhere_the_perplexity_has_to_be_near(made, there):
    others = Stub(-1.015, words={golden.PROMPTS[0]: "something else"})
    found = golden.replay(others, there, made)
    assert (found.exact, others.asked) == (False, 0)
    assert found.gap == pytest.approx(math.exp(0.015) - 1)
    assert "answers were not compared" in found.said
    with pytest.raises(GoldenMismatch, match=r"perplexity 2\.801 on .* 3\.05% apart, 0\.02 allowed"):
        golden.replay(Stub(-1.03), there, made)
    with pytest.raises(GoldenMismatch):
        golden.replay(Stub(math.nan), there, made)


def test_a_version_that_cannot_be_told_is_not_the_same():
    there = identity("an engine that is not installed")
    found = golden.make(Stub(), there, golden.prompts(None, False), 0.02)
    assert golden.UNKNOWN in found.engine
    assert not golden.replay(Stub(), there, found).exact


def test_an_engine_that_gives_no_numbers_makes_none():
    with pytest.raises(BadPackage, match="no numbers"):
        golden.make(Stub(math.nan), HERE, golden.prompts(None, False), 0.02)


def test_an_engine_that_answers_otherwise_the_second_time_makes_none():
    class Fickle(Stub):
        def complete(self, prompt, *, most):
            return SimpleNamespace(text=f"{super().complete(prompt, most=most).text} {self.asked}", output=most)

    with pytest.raises(GoldenMismatch, match="golden example 1"):
        golden.make(Fickle(), HERE, golden.prompts(None, False), 0.02)


def test_a_package_has_golden_examples(tmp_path, made):
    with pytest.raises(BadPackage, match="has no golden examples"):
        golden.read(tmp_path)
    (tmp_path / "golden").mkdir()
    golden.write(tmp_path, made)
    assert golden.read(tmp_path) == made
    (tmp_path / golden.FILE).write_text("{}")
    with pytest.raises(BadPackage, match="cannot be read"):
        golden.read(tmp_path)


def test_prompts_of_a_file(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n\n{"messages": [{"role": "user", "content": "b"}]}\n')
    one, two = golden.prompts(path, True)
    assert (one.prompt, two.messages[0]["content"]) == ("a", "b")
    with pytest.raises(InvalidArgument, match="line 2: the model has no chat template"):
        golden.prompts(path, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 prompts"),
        ('{"prompt": "a"}\n' * 65, "has 65 prompts"),
        ("{", "line 1"),
        ('{"prompt": "a", "tokens": 3}', "line 1: give"),
        ('{"prompt": "a", "x": 3}', "unknown field"),
        ('{"prompt": ""}', "line 1: give"),
        ('{"messages": [{"role": "user"}]}', "role and content, and nothing else"),
        ('{"prompt": "a", "messages": [{"role": "user", "content": "b"}]}', "line 1: give"),
    ],
)
def test_prompts_that_are_none_are_refused(tmp_path, text, said):
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match=said):
        golden.prompts(path, True)
