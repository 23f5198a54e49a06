import base64
import json

import numpy as np
import pytest

from argosy.protocol import openai
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.language import LanguageModel

ENCODER = LanguageModel(kind="encoder", architecture="bert")
FOUND = [
    np.array([[3.0, 4.0, 12.0], [0.0, 1.0, 0.0]], "f4"),
    np.array([4, 6], "i4"),
    np.array([False, True]),
]


def asked(**fields):
    return openai.decode("embeddings", json.dumps(fields).encode(), "minilm")


def test_one_text_or_several_are_taken_and_other_fields_pass():
    assert asked(input="a").texts == ["a"]
    assert asked(input=["a", "b"], model="minilm:2", user="me").texts == ["a", "b"]


@pytest.mark.parametrize("given", [[1, 2], [[1], [2]], ["a", 1]], ids=["tokens", "several", "mixed"])
def test_tokens_are_refused_with_the_way(given):
    with pytest.raises(InvalidArgument, match="check_embedding_ctx_length"):
        _ = asked(input=given).texts


@pytest.mark.parametrize("count", [0, openai.MOST_TEXTS + 1])
def test_a_list_has_a_limit(count):
    with pytest.raises(InvalidArgument, match="1 to 2048"):
        _ = asked(input=["a"] * count).texts


@pytest.mark.parametrize("fields", [{}, {"input": None}, {"input": "a", "encoding_format": "hex"}, {"input": {"a": 1}}])
def test_what_is_no_request_is_refused(fields):
    with pytest.raises(InvalidArgument):
        asked(**fields)


def test_another_model_is_not_found():
    with pytest.raises(NotFound, match="'gpt'"):
        asked(input="a", model="gpt")


def test_embeddings_as_floats_and_as_base64():
    answer = json.loads(openai.embeddings(asked(input=["a", "b"]), "minilm", FOUND, 3))
    assert [each["embedding"] for each in answer["data"]] == FOUND[0].tolist()
    assert [each["index"] for each in answer["data"]] == [0, 1]
    assert answer["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    assert answer["truncated"] == [1]
    packed = json.loads(openai.embeddings(asked(input=["a", "b"], encoding_format="base64"), "minilm", FOUND, 3))
    rows = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4").tolist() for each in packed["data"]]
    assert rows == FOUND[0].tolist()


def test_shorter_embeddings_have_length_one():
    answer = json.loads(openai.embeddings(asked(input=["a", "b"]), "minilm", FOUND, 2))
    assert answer["data"][0]["embedding"] == pytest.approx([0.6, 0.8])


def test_dimensions_are_those_that_the_model_is_made_for():
    assert openai.check_dimensions(None, ENCODER, 384) == 384
    assert openai.check_dimensions(384, ENCODER, 384) == 384
    some = LanguageModel(kind="encoder", architecture="bert", dimensions=(64, 128))
    whatever = LanguageModel(kind="encoder", architecture="bert", dimensions=(0,))
    assert openai.check_dimensions(64, some, 384) == 64
    assert openai.check_dimensions(7, whatever, 384) == 7
    for model, wrong in ((ENCODER, 64), (some, 65), (whatever, 0), (whatever, 385)):
        with pytest.raises(InvalidArgument, match="384"):
            openai.check_dimensions(wrong, model, 384)


def test_documents_come_best_first():
    body = {"query": "q", "documents": ["a", {"text": "b"}, "c"], "top_n": 2, "return_documents": True}
    request = openai.decode("rerank", json.dumps(body).encode(), "cross")
    scores = [np.array([0.1, 0.9, 0.5], "f4"), np.array([3, 3, 3], "i4"), np.zeros(3, bool)]
    answer = json.loads(openai.rerank(request, "cross", scores))
    assert [(each["index"], each["document"]["text"]) for each in answer["results"]] == [(1, "b"), (2, "c")]
    assert answer["results"][0]["relevance_score"] == pytest.approx(0.9)
    with pytest.raises(InvalidArgument, match="top_n"):
        _ = openai.decode("rerank", json.dumps(body | {"top_n": 0}).encode(), "cross").texts
