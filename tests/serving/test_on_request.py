"""Outputs that are calculated where a request names them, over both transports, beside requests that name none."""

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from argosy.engines.base import Engine
from argosy.spec.endpoint import Runtime
from argosy.spec.signature import Signature, TensorSpec
from tests.serving.conftest import RunningReplica

ROWS = np.arange(24, dtype="f4").reshape(12, 2)
"""More than one batch of the replica."""


class Powers(Engine):
    """`x`, and on request its square and its cube. Records what was asked for."""

    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 2)),),
        on_request=tuple(
            TensorSpec(name=name, datatype="FP32", shape=(-1, 2), optional=True) for name in ("square", "cube")
        ),
    )

    def __init__(self):
        self.asked = []

    def predict(self, inputs):
        return [inputs["x"]]

    def more(self, inputs, names):
        self.asked.append(tuple(names))
        return [inputs["x"] ** {"square": 2, "cube": 3}[name] for name in names]


@pytest.fixture(scope="module")
def replica():
    engine = Powers()
    with RunningReplica({"powers": engine}, runtime=Runtime(max_batch_size=8)) as running:
        running.engine = engine
        yield running


def answers(replica, over, rows, names):
    """Arrays by the name of the output, in the order of the answer."""
    module, address = (triton_grpc, replica.grpc) if over == "grpc" else (triton_http, replica.http)
    given = module.InferInput("x", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows)
    wanted = [module.InferRequestedOutput(name) for name in names] or None
    with module.InferenceServerClient(str(address)) as client:
        found = client.infer("powers", [given], outputs=wanted)
        said = found.get_response()
        listed = [one["name"] for one in said["outputs"]] if over == "http" else [one.name for one in said.outputs]
        return {name: found.as_numpy(name) for name in listed}


@pytest.mark.parametrize("over", ["http", "grpc"])
@pytest.mark.parametrize("rows", [ROWS[:1], ROWS], ids=["one", "several batches"])
def test_only_those_who_name_them_get_them(replica, over, rows):
    powers = {"y": rows, "square": rows**2, "cube": rows**3}
    for names in ((), ("cube",), ("cube", "y"), ("y", "square", "cube"), ("square", "cube")):
        replica.engine.asked.clear()
        found = answers(replica, over, rows, names)
        assert [*found] == ([*names] or ["y"])
        for name, array in found.items():
            np.testing.assert_array_equal(array, powers[name])
        assert {*replica.engine.asked} == {tuple(name for name in names if name != "y")} - {()}


@pytest.mark.parametrize("over", ["http", "grpc"])
def test_a_name_that_the_model_does_not_have(replica, over):
    with pytest.raises(InferenceServerException, match="the model gives y, square, cube"):
        answers(replica, over, ROWS, ("root",))


def test_metadata_marks_them(replica):
    with triton_http.InferenceServerClient(str(replica.http)) as client:
        found = client.get_model_metadata("powers")["outputs"]
    assert [(one["name"], one.get("parameters")) for one in found] == [
        ("y", None),
        ("square", {"optional": True}),
        ("cube", {"optional": True}),
    ]
