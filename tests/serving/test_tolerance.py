"""Requests that fit a model only by a cast, a reshape or another name: answered as right ones, or refused if strict."""

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from argosy.engines.base import Engine
from argosy.spec.endpoint import Runtime
from argosy.spec.signature import Signature, TensorSpec
from tests.serving.conftest import RunningReplica


class Sums(Engine):
    """The sum of two named columns."""

    releases_gil = True
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("a", "b")),),
        outputs=(TensorSpec(name="sum", datatype="FP32", shape=(-1,)),),
    )

    def predict(self, inputs):
        assert inputs["x"].dtype == "f4"
        return [inputs["x"].sum(1)]


class Mixed(Engine):
    """How long a text is, plus a number."""

    releases_gil = True
    signature = Signature(
        inputs=(
            TensorSpec(name="n", datatype="INT64", shape=(-1,)),
            TensorSpec(name="text", datatype="BYTES", shape=(-1, 1), nullable=True),
        ),
        outputs=(TensorSpec(name="y", datatype="INT64", shape=(-1,)),),
    )

    def predict(self, inputs):
        assert inputs["n"].dtype == "i8"
        return [inputs["n"] + [len(text) for text in inputs["text"][:, 0]]]


@pytest.fixture(scope="module", params=["tolerant", "strict"])
def replica(request):
    runtime = Runtime(strict=request.param == "strict")
    with RunningReplica({"sums": Sums(), "mixed": Mixed()}, runtime=runtime) as running:
        yield running


def infer(replica, over, model, arrays):
    """The one output, or the status where the request is refused."""
    module, address = (triton_grpc, replica.grpc) if over == "grpc" else (triton_http, replica.http)
    inputs = []
    for name, array in arrays.items():
        inputs.append(module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array, **({} if over == "grpc" else {"binary_data": over == "binary"}))
    with module.InferenceServerClient(str(address)) as client:
        try:
            answer = client.infer(model, inputs)
        except InferenceServerException as error:
            return error.status()
        name = "sum" if model == "sums" else "y"
        return answer.as_numpy(name).tolist()


REFUSED = {"json": "400", "binary": "400", "grpc": "StatusCode.INVALID_ARGUMENT"}
TABLE = np.array([[1, 2], [3, 4]])
TEXTS = np.array([[b"ab"], [b""]], object)


@pytest.mark.parametrize("over", ["json", "binary", "grpc"])
@pytest.mark.parametrize(
    ("model", "arrays", "wanted"),
    [
        ("sums", {"input-0": TABLE.astype("f4")}, [3, 7]),
        ("sums", {"x": TABLE.astype("f8")}, [3, 7]),
        ("sums", {"x": TABLE}, [3, 7]),
        ("sums", {"x": TABLE.astype("u1")}, [3, 7]),
        ("sums", {"x": np.array([1, 2], "f4")}, [3]),
        ("sums", {"b": TABLE[:, 1].astype("f4"), "a": TABLE[:, :1].astype("i4")}, [3, 7]),
        ("sums", {"input-0": np.tile(TABLE, (20_000, 1))}, [3, 7] * 20_000),
        ("mixed", {"n": np.array([1, 2], "i4"), "text": TEXTS}, [3, 2]),
        ("mixed", {"n": np.array([[1.0], [2.0]]), "text": TEXTS[:, 0]}, [3, 2]),
        ("mixed", {"text": TEXTS[:, 0], "n": np.array([1, 2])}, [3, 2]),
    ],
    ids=lambda value: (
        None if not isinstance(value, dict) else "-".join(f"{k}{v.dtype}{v.shape}" for k, v in value.items())
    ),
)
def test_what_fits_is_answered(replica, over, model, arrays, wanted):
    found = infer(replica, over, model, arrays)
    assert found == (REFUSED[over] if replica.config.runtime.strict else wanted)


@pytest.mark.parametrize("over", ["json", "binary", "grpc"])
@pytest.mark.parametrize(
    ("model", "arrays"),
    [
        ("sums", {"x": np.array([[1, 2**24 + 1]])}),
        ("sums", {"x": np.array([[1.0, 1e39]])}),
        ("sums", {"x": np.zeros((2, 3), "f4")}),
        ("sums", {"a": TABLE[:, 0], "c": TABLE[:, 1]}),
        ("mixed", {"n": np.array([1.5, 2.0]), "text": TEXTS}),
        ("mixed", {"m": np.array([1, 2]), "text": TEXTS}),
        ("mixed", {"n": np.array([1, 2]), "text": np.array([1, 2])}),
    ],
    ids=str,
)
def test_what_would_change_is_refused(replica, over, model, arrays):
    assert infer(replica, over, model, arrays) == REFUSED[over]


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"id": None, "parameters": None, "outputs": None}, True),
        ({"id": None, "unknown": {"a": [1]}}, False),
        ({"parameters": {"content_type": None}}, False),
        ({"outputs": [{"name": "y", "parameters": None}]}, False),
    ],
)
def test_fields_without_a_value(replica, change, fits):
    text = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["ab", "c"]}
    number = {"name": "n", "shape": [2], "datatype": "INT64", "data": [1, 2]}
    if replica.config.runtime.strict:
        text["shape"] = [2, 1]
    body = {"inputs": [number, text], **change}
    answer = httpx.post(f"{replica.url}/v2/models/mixed/infer", json=body)
    assert answer.status_code == (200 if fits or not replica.config.runtime.strict else 400), answer.text


def test_a_row_without_a_text_is_a_row(replica):
    text = {"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": ["ab", None]}
    number = {"name": "n", "shape": [2], "datatype": "INT64", "data": [1, 2]}
    answer = httpx.post(f"{replica.url}/v2/models/mixed/infer", json={"inputs": [number, text]})
    if replica.config.runtime.strict:
        assert answer.status_code == 400
    else:
        assert answer.json()["outputs"][0]["data"] == [3, 2]


@pytest.mark.parametrize("columns", [False, True])
def test_what_the_codecs_of_mlserver_dump(replica, columns):
    about = {"content_type": "np", "headers": None}
    item = {"datatype": "FP64", "parameters": about}
    inputs = [{"name": "input-0", "shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.0], **item}]
    if columns:
        inputs = [
            {"name": name, "shape": [2, 1], "data": data, **item}
            for name, data in [("b", [2.0, 4.0]), ("a", [1.0, 3.0])]
        ]
    body = {"id": None, "parameters": about, "inputs": inputs, "outputs": None}
    answer = httpx.post(f"{replica.url}/v2/models/sums/infer", json=body)
    if replica.config.runtime.strict:
        assert answer.status_code == 400
    else:
        assert answer.json()["outputs"][0]["data"] == [3, 7]
