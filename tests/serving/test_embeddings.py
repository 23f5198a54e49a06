"""Embeddings and rankings over HTTP, with OpenAI's own client and without."""

import gzip
import json

import httpx
import numpy as np
import openai
import pytest

from argosy.engines.base import Loading
from argosy.engines.encoder import load
from argosy.packaging import encoder
from argosy.spec.endpoint import Runtime
from tests.engines import tiny_encoders as tiny
from tests.engines.test_encoder import REFERENCES
from tests.serving.conftest import RunningReplica
from tests.serving.engines import Identity


def engine(folder, kind):
    tiny.make(folder, kind)
    prepared = encoder.prepare(encoder.Unprepared(weights=str(folder), into=str(folder)))
    found = load(Loading(folder, None, prepared.settings, 1))
    found.language = prepared.language
    return found


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    place = tmp_path_factory.mktemp("encoders")
    kinds = {"tiny": "bert-mean", "cross": "bert-rerank"}
    engines = {name: engine(place / name, kind) for name, kind in kinds.items()}
    with RunningReplica({**engines, "plain": Identity()}, Runtime(max_batch_size=2)) as running:
        yield running


@pytest.fixture(scope="module")
def client(replica):
    with openai.OpenAI(base_url=f"{replica.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def post(replica, path, **fields):
    return httpx.post(replica.url + path, json=fields)


@pytest.mark.parametrize("form", ["float", "base64"])
def test_openais_client_gets_the_embeddings(client, form):
    answer = client.embeddings.create(model="tiny", input=tiny.TEXTS, encoding_format=form)
    assert [each.index for each in answer.data] == list(range(len(tiny.TEXTS)))
    rows = [each.embedding for each in answer.data]
    if form == "base64":
        rows = [np.frombuffer(__import__("base64").b64decode(row), "<f4") for row in rows]
    assert np.abs(np.array(rows) - REFERENCES["bert-mean"]).max() < 1e-5
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > len(tiny.TEXTS)
    assert answer.truncated == [3]


def test_openais_client_sees_the_models(client):
    assert sorted(model.id for model in client.models.list()) == ["cross", "tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


def test_openais_client_understands_the_errors(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.embeddings.create(model="nothing", input="a")
    assert refused.value.code == "model_not_found"
    for fields in ({"input": []}, {"input": "a", "dimensions": 3}, {"input": [1]}):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="tiny", **fields)


def test_the_path_may_name_the_model(replica):
    answer = post(replica, "/endpoints/tiny/v1/embeddings", input="ab cab").json()
    assert np.abs(np.array(answer["data"][0]["embedding"]) - REFERENCES["bert-mean"][0]).max() < 1e-5


def test_a_compressed_body_is_taken(replica):
    body = gzip.compress(json.dumps({"input": "ab cab"}).encode())
    url = f"{replica.url}/endpoints/tiny/v1/embeddings"
    assert httpx.post(url, content=body, headers={"content-encoding": "gzip"}).status_code == 200


def test_a_text_that_may_not_be_cut_is_refused(replica):
    refused = post(replica, "/v1/embeddings", model="tiny", input=["a", "lime " * 30], truncate=False)
    assert refused.status_code == 400
    assert "text 1 has more than 24 tokens" in refused.json()["error"]["message"]


def test_documents_are_ranked(replica):
    pairs = zip(tiny.QUERIES, tiny.TEXTS, REFERENCES["bert-rerank"], strict=True)
    for query, text, want in list(pairs)[:3]:
        answer = post(replica, "/v1/rerank", model="cross", query=query, documents=["other", text], top_n=2).json()
        found = {each["index"]: each["relevance_score"] for each in answer["results"]}
        assert found[1] == pytest.approx(want, abs=1e-5)
        assert [each["relevance_score"] for each in answer["results"]] == sorted(found.values(), reverse=True)
    assert answer["usage"]["prompt_tokens"] > 4


def test_what_is_no_encoder_says_so(replica):
    for path, model in (("embeddings", "plain"), ("embeddings", "cross"), ("rerank", "tiny")):
        body = {"input": "a", "query": "a", "documents": ["a"], "model": model}
        refused = post(replica, f"/v1/{path}", **body)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"


def test_the_open_inference_protocol_gives_more_on_request(replica):
    text = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["ab cab", "lime " * 30]}
    outputs = [{"name": "embedding"}, {"name": "truncated"}]
    answer = post(replica, "/v2/models/tiny/infer", inputs=[text], outputs=outputs).json()
    assert [each["name"] for each in answer["outputs"]] == ["embedding", "truncated"]
    assert answer["outputs"][1]["data"] == [False, True]
