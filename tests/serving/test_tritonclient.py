"""`tritonclient`, unmodified, against a replica: the client that most users of the protocol have."""

import json

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import argosy
from argosy.engines.base import Engine
from argosy.spec.signature import Signature, TensorSpec
from tests.serving.conftest import RunningReplica
from tests.serving.engines import Identity, identities

ROWS = np.arange(12, dtype="f4").reshape(3, 4)


class Named(Engine):
    """One row of two named columns, either of which may be missing."""

    releases_gil = True
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("age", "height"), nullable=True),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 2)),),
    )

    def predict(self, inputs):
        return [inputs["x"]]


class Scores(Engine):
    """Three class scores a row: the second column plus 0, 1, 2."""

    releases_gil = True
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),),
        outputs=(TensorSpec(name="scores", datatype="FP32", shape=(-1, 3), classes=("low", "mid", "high")),),
    )

    def predict(self, inputs):
        return [inputs["x"][:, 1:2] + np.arange(3, dtype="f4")]


@pytest.fixture(scope="module")
def replica():
    engines = {"scores": Scores(), "named": Named(), **identities(), "slow": Identity("FP32", seconds=0.2)}
    with RunningReplica(engines, inline=False) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def triton(request, replica):
    """The module and a client of it."""
    module = triton_http if request.param == "http" else triton_grpc
    address = str(replica.http if request.param == "http" else replica.grpc)
    with module.InferenceServerClient(address) as client:
        yield module, client


def wanted(module, name, array, **options):
    found = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    found.set_data_from_numpy(array, **options)
    return found


def as_dict(answer):
    from google.protobuf import json_format

    if isinstance(answer, dict | list):
        return answer
    return json_format.MessageToDict(answer, preserving_proto_field_name=True)


def test_live_and_ready(triton):
    _, client = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("scores")
    assert client.is_model_ready("scores", "1")


def test_a_model_nobody_has_is_not_ready(triton):
    module, client = triton
    if module is triton_http:
        assert not client.is_model_ready("nobody")
    else:
        with pytest.raises(InferenceServerException, match="nobody"):
            client.is_model_ready("nobody")


def test_metadata(triton):
    _, client = triton
    server = as_dict(client.get_server_metadata())
    assert server["name"] == "argosy"
    assert {"binary_tensor_data", "statistics", "model_repository"} <= set(server["extensions"])
    model = as_dict(client.get_model_metadata("scores"))
    assert model["versions"] == ["1"]
    assert model["inputs"][0]["name"] == "x"
    assert list(map(int, model["inputs"][0]["shape"])) == [-1, 4]


def test_metadata_of_a_model_with_named_columns(triton):
    module, client = triton
    found = as_dict(client.get_model_metadata("named"))["inputs"][0]
    assert (found["name"], found["datatype"], list(map(int, found["shape"]))) == ("x", "FP32", [-1, 2])
    if module is triton_http:
        assert found["parameters"] == {"columns": ["age", "height"], "nullable": True}


def test_metadata_names_the_classes(replica):
    with triton_http.InferenceServerClient(str(replica.http)) as client:
        (output,) = client.get_model_metadata("scores")["outputs"]
    assert output["parameters"] == {"classes": ["low", "mid", "high"]}


NAMES = {"scores": ["low", "mid", "high"]}


def test_answers_name_the_classes(triton, replica):
    """Whatever form they have: as a text, since a parameter is a scalar, in gRPC and for KServe's SDK."""
    module, client = triton
    forms = [{"binary_data": form} for form in (False, True)] if module is triton_http else [{}]
    for rows in (ROWS, np.tile(ROWS, (3000, 1))):
        for form in forms:
            outputs = [module.InferRequestedOutput("scores", **form)]
            result = client.infer("scores", [wanted(module, "x", rows)], outputs=outputs, request_id="1")
            assert result.as_numpy("scores").shape == (len(rows), 3)
            answer = as_dict(result.get_response())
            text = answer["parameters"]["classes"]
            assert json.loads(text if isinstance(text, str) else text["string_param"]) == NAMES
            assert answer["id"] == "1"
    plain = client.infer("identity_fp32", [wanted(module, "x", ROWS)])
    assert "parameters" not in as_dict(plain.get_response())
    with argosy.Client(replica.url) as ours:
        assert ours.predict("scores", ROWS).class_names == {"scores": ("low", "mid", "high")}
        assert ours.predict("identity_fp32", ROWS).class_names == {}


def test_config_is_what_perf_analyzer_reads(triton):
    module, client = triton
    config = as_dict(client.get_model_config("scores"))
    config = config if module is triton_http else config["config"]
    assert config["name"] == "scores"
    assert config["max_batch_size"] == 64
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert [int(axis) for axis in config["input"][0]["dims"]] == [4]


def test_statistics_count_requests(triton):
    module, client = triton
    client.infer("scores", [wanted(module, "x", ROWS)])
    stats = as_dict(client.get_inference_statistics("scores"))["model_stats"]
    assert int(stats[0]["inference_count"]) >= 3
    assert int(stats[0]["inference_stats"]["success"]["count"]) >= 1
    assert as_dict(client.get_inference_statistics())["model_stats"]


def test_the_repository(triton):
    module, client = triton
    index = as_dict(client.get_model_repository_index())
    index = index if module is triton_http else index["models"]
    assert {"name": "scores", "version": "1", "state": "READY"}.items() <= next(
        entry for entry in index if entry["name"] == "scores"
    ).items()
    for change in (client.unload_model, client.load_model):
        with pytest.raises(InferenceServerException, match="not permitted here"):
            change("scores")
    assert client.is_model_ready("scores")


def test_infer(triton):
    module, client = triton
    result = client.infer("scores", [wanted(module, "x", ROWS)], request_id="é-1")
    np.testing.assert_array_equal(result.as_numpy("scores"), ROWS[:, 1:2] + np.arange(3, dtype="f4"))
    response = result.get_response()
    assert (response["id"] if module is triton_http else response.id) == "é-1"


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_json_and_binary_over_http(replica, binary_in, binary_out):
    with triton_http.InferenceServerClient(str(replica.http)) as client:
        result = client.infer(
            "scores",
            [wanted(triton_http, "x", ROWS, binary_data=binary_in)],
            outputs=[triton_http.InferRequestedOutput("scores", binary_data=binary_out)],
        )
    np.testing.assert_array_equal(result.as_numpy("scores"), ROWS[:, 1:2] + np.arange(3, dtype="f4"))
    assert ("binary_data_size" in str(result.get_response())) is binary_out


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(triton, algorithm):
    module, client = triton
    big = np.tile(ROWS, (500, 1))
    options = (
        {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
        if module is triton_http
        else {"compression_algorithm": algorithm}
    )
    result = client.infer("scores", [wanted(module, "x", big)], **options)
    np.testing.assert_array_equal(result.as_numpy("scores"), big[:, 1:2] + np.arange(3, dtype="f4"))


@pytest.mark.parametrize(
    "array",
    [
        np.array([[True, False]]),
        np.array([[0, 255]], "u1"),
        np.array([[0, 65535]], "u2"),
        np.array([[0, 2**32 - 1]], "u4"),
        np.array([[0, 2**64 - 1]], "u8"),
        np.array([[-128, 127]], "i1"),
        np.array([[-(2**15), 2**15 - 1]], "i2"),
        np.array([[-(2**31), 2**31 - 1]], "i4"),
        np.array([[-(2**63), 2**63 - 1]], "i8"),
        np.array([[1.5, np.inf]], "f2"),
        np.array([[1.5, np.nan]], "f4"),
        np.array([[5e-324, -np.inf]], "f8"),
        np.array([[b"", b"\x00\xff", b"text"]], object),
        np.zeros((0, 3), "f4"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_every_datatype_comes_back(triton, array):
    module, client = triton
    name = f"identity_{np_to_triton_dtype(array.dtype).lower()}"
    found = client.infer(name, [wanted(module, "x", array)]).as_numpy("y")
    np.testing.assert_array_equal(found, array)
    assert found.shape == array.shape


def test_async_infer_over_http(replica):
    with triton_http.InferenceServerClient(str(replica.http), concurrency=4) as client:
        asked = [client.async_infer("scores", [wanted(triton_http, "x", ROWS + n)]) for n in range(8)]
        for n, one in enumerate(asked):
            np.testing.assert_array_equal(one.get_result().as_numpy("scores")[:, 0], ROWS[:, 1] + n)


def test_async_infer_and_streaming_over_grpc(replica):
    import queue

    answers = queue.Queue()
    with triton_grpc.InferenceServerClient(str(replica.grpc)) as client:
        client.async_infer(
            "scores", [wanted(triton_grpc, "x", ROWS)], lambda result, error: answers.put((result, error))
        )
        result, error = answers.get(timeout=60)
        assert error is None
        np.testing.assert_array_equal(result.as_numpy("scores")[:, 0], ROWS[:, 1])
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("scores", [wanted(triton_grpc, "x", ROWS)], request_id="good")
        client.async_stream_infer("nobody", [wanted(triton_grpc, "x", ROWS)], request_id="bad")
        found = [answers.get(timeout=60) for _ in range(2)]
        client.stop_stream()
    assert [result.get_response().id for result, error in found if error is None] == ["good"]
    assert ["nobody" in str(error) for _, error in found if error is not None] == [True]


def test_classification(triton):
    module, client = triton
    outputs = [module.InferRequestedOutput("scores", class_count=2)]
    found = client.infer("scores", [wanted(module, "x", ROWS)], outputs=outputs).as_numpy("scores")
    assert found.shape == (3, 2)
    score, index, name = found[0][0].decode().split(":")
    assert (float(score), index, name) == (3.0, "2", "high")


@pytest.mark.parametrize("side", ["input", "output"])
def test_shared_memory_is_refused_and_not_passed_over(triton, side):
    """What is asked to be written there is looked for there."""
    module, client = triton
    asked, outputs = wanted(module, "x", ROWS), [module.InferRequestedOutput("scores")]
    (asked if side == "input" else outputs[0]).set_shared_memory("region", 48)
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer("scores", [asked], outputs=outputs)


def test_the_timeout_parameter(triton):
    module, client = triton
    with pytest.raises(InferenceServerException, match="deadline"):
        client.infer("slow", [wanted(module, "x", ROWS)], timeout=20_000)


@pytest.mark.parametrize(
    ("model", "version", "name", "shape", "text"),
    [
        ("nobody", "", "x", (1, 4), "nobody"),
        ("scores", "99", "x", (1, 4), "99"),
        ("scores", "", "x", (1, 5), "shape"),
    ],
)
def test_failures_carry_our_words(triton, model, version, name, shape, text):
    module, client = triton
    with pytest.raises(InferenceServerException, match=text):
        client.infer(model, [wanted(module, name, np.zeros(shape, "f4"))], model_version=version)


def test_a_failure_has_its_status(replica):
    with triton_http.InferenceServerClient(str(replica.http)) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.infer("nobody", [wanted(triton_http, "x", ROWS)])
        assert caught.value.status() == "404"
