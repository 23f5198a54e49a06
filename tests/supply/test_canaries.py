import random
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from argosy.protocol.rest import Response, decode_request, encode_response, parse_header_length
from argosy.spec.package import Tolerance
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor
from argosy.supply.canaries import LENGTH, Canaries
from argosy.supply.hosts import RULES

ROWS = 16
X = np.arange(ROWS * 2, dtype=np.float32).reshape(ROWS, 2)


def package(batched: bool = True):
    """One whose answers are twice what was asked."""
    spec = tuple(TensorSpec(name=name, datatype="FP32", shape=(-1 if batched else ROWS, 2)) for name in "xy")
    signature = Signature(inputs=spec[:1], outputs=spec[1:], batched=batched)
    return SimpleNamespace(
        manifest=SimpleNamespace(
            name="twice", engine="onnx", signature=signature, tolerance=Tolerance(atol=1e-5, rtol=1e-5)
        ),
        golden_inputs=lambda: [Tensor("x", "FP32", X)],
        golden_outputs=lambda: [Tensor("y", "FP32", 2 * X)],
    )


class Gateway:
    """Answers as the replicas behind it do: by name, what each makes of its input."""

    def __init__(self, **replicas) -> None:
        self.replicas, self.asked, self.revision, self.status = replicas, [], "r1", 200

    def post(self, url: str, *, content: bytes, headers: dict[str, str]) -> httpx.Response:
        length = parse_header_length(headers.get(LENGTH), len(content))
        (given,) = decode_request(content, length, package().manifest.signature).tensors
        name = sorted(self.replicas)[len(self.asked) % len(self.replicas)]
        self.asked.append(given.array)
        answer, length = encode_response(
            Response("twice", "1", [Tensor("y", "FP32", self.replicas[name](given.array))])
        )
        told = {"x-argosy-replica": name, "x-argosy-revision": self.revision}
        told |= {} if length is None else {LENGTH: str(length)}
        return httpx.Response(self.status, content=bytes(answer), headers=told)


def canaries(gateway: Gateway, **more) -> Canaries:
    return Canaries(package(**more), "r1", gateway, "", random.Random(1))


def test_the_replica_that_answers_otherwise_is_the_one_that_is_evicted():
    gateway = Gateway(good=lambda x: 2 * x, bad=lambda x: 2 * np.round(x / 4) * 4)
    found = canaries(gateway)
    for _ in range(40):
        found.once()
    assert "canaries disagreed" in found.scores["bad"].evicted
    assert (found.scores["good"].evicted, found.scores["good"].disagreed, found.scores["good"].canaries) == ("", 0, 20)


def test_no_two_canaries_are_alike_and_each_is_rows_of_the_golden_examples():
    gateway = Gateway(a=lambda x: 2 * x)
    found = canaries(gateway)
    for _ in range(30):
        assert not found.once()
    assert len({each.tobytes() for each in gateway.asked}) > 20
    assert all((row == X).all(axis=1).any() for each in gateway.asked for row in each)


def test_rows_that_are_no_batch_are_asked_as_they_are():
    found = canaries(Gateway(a=lambda x: 2 * x), batched=False)
    assert np.array_equal(found.draw().inputs[0].array, X)


@pytest.mark.parametrize("field", ["status", "revision"])
def test_what_is_not_answered_or_by_another_revision_says_nothing(field):
    gateway = Gateway(a=lambda x: x)
    setattr(gateway, field, {"status": 503, "revision": "r2"}[field])
    found = canaries(gateway)
    assert found.once()
    assert found.scores == {}


@pytest.mark.parametrize("answer", [lambda x: x[:0], lambda x: np.full_like(x, np.nan)], ids=["rows", "nan"])
def test_an_answer_of_no_use_disagrees(answer):
    found = canaries(Gateway(a=answer))
    assert found.once()
    assert found.scores["a"].disagreed == 1


def test_an_answer_that_cannot_be_read_disagrees():
    gateway = Gateway()
    told = {"x-argosy-replica": "a", "x-argosy-revision": "r1"}
    gateway.post = lambda url, **asked: httpx.Response(200, content=b"{", headers=told)
    found = canaries(gateway)
    assert found.once().startswith("its answer cannot be read")
    assert found.scores["a"].disagreed == 1


def test_doubt_brings_more_of_them():
    found = canaries(Gateway(a=lambda x: -x))
    calm = np.mean([found.pause(100.0) for _ in range(2000)])
    found.once()
    alert = np.mean([found.pause(100.0) for _ in range(2000)])
    assert 90 < calm < 110
    assert 0.9 < calm / alert / (RULES.alert / RULES.calm) < 1.1
