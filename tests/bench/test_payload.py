import json

import numpy as np
import pytest

from bench import payload

ROW = {"X": np.arange(4, dtype=np.float32).reshape(1, 4), "ids": np.array([[300, 7]], dtype=np.int64)}


def test_json_holds_every_tensor_flat():
    inputs = json.loads(payload.json_body(ROW))["inputs"]
    assert inputs[0] == {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [0.0, 1.0, 2.0, 3.0]}
    assert inputs[1]["datatype"] == "INT64"


def test_a_binary_body_is_its_header_then_the_buffers():
    body, headers = payload.binary_body(ROW)
    size = int(headers["Inference-Header-Content-Length"])
    head, tail = json.loads(body[:size]), body[size:]
    assert [t["parameters"]["binary_data_size"] for t in head["inputs"]] == [16, 16]
    assert head["parameters"] == {"binary_data_output": True}
    assert tail == ROW["X"].tobytes() + ROW["ids"].tobytes()


@pytest.fixture(scope="module")
def pb2():
    return pytest.importorskip("tritonclient.grpc.service_pb2")


def test_the_grpc_request_is_what_protobuf_understands(pb2):
    wide = ROW | {"wide": np.zeros((1, 2048), dtype=np.int32)}
    message = pb2.ModelInferRequest.FromString(payload.grpc_body(wide, "digits"))
    assert message.model_name == "digits"
    assert [(t.name, t.datatype, list(t.shape)) for t in message.inputs] == [
        ("X", "FP32", [1, 4]), ("ids", "INT64", [1, 2]), ("wide", "INT32", [1, 2048]),
    ]  # fmt: skip
    assert list(message.raw_input_contents) == [a.tobytes() for a in wide.values()]


@pytest.mark.parametrize("raw", [True, False])
def test_the_label_is_read_from_either_kind_of_grpc_contents(pb2, raw: bool):
    answer = pb2.ModelInferResponse(model_name="digits", id="1")
    output = answer.outputs.add(name="label", datatype="INT64", shape=[1])
    if raw:
        answer.raw_output_contents.append(np.array([7], dtype=np.int64).tobytes())
    else:
        output.contents.int64_contents.append(7)
    assert payload.grpc_label(answer.SerializeToString()) == [7]


def test_the_label_is_the_first_output_whatever_its_shape():
    assert payload.json_label(b'{"outputs": [{"data": [[3]]}, {"data": [0.5]}]}') == [3]
