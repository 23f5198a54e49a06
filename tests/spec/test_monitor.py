"""What may be declared of how a model is watched."""

import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.strict import convert


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"every": 9}, "every"), ({"margin": 0}, "margin"), ({"margin": float("inf")}, "margin"), ({"gap": -1}, "gap"),
        ({"segments": ("a", "a")}, "segments"), ({"segments": tuple("abcdefghi")}, "8 columns"),
        ({"label": ""}, "label"),
        ({"kind": "regression", "positive": "1"}, "classification"), ({"kind": "regression", "metric": "f1"}, "f1"),
        ({"kind": "classification", "metric": "mae"}, "mae"), ({"classes": ("a",)}, "2 labels"),
        ({"classes": ("a", "b"), "positive": "c"}, "none of classes"),
        ({"threshold": 0.5, "decision": "output.label"}, "no effect"), ({"threshold": float("nan")}, "threshold"),
    ],
)  # fmt: skip
def test_monitors_that_cannot_be(wrong, says):
    with pytest.raises(InvalidArgument, match=f"monitor: .*{says}"):
        Monitor(**wrong)


def test_performance_needs_recorded_predictions():
    with pytest.raises(InvalidArgument, match=r"monitor\.reference is about recorded predictions.*payload: \{\}"):
        Endpoint(name="m", model="m:1", monitor=Monitor(reference="/data/labelled.parquet"))
    with pytest.raises(InvalidArgument, match=r"monitor\.every"):
        Endpoint(name="m", model="m:1", monitor=Monitor(every=60))
    assert Endpoint(name="m", model="m:1", monitor=Monitor(segments=("city",), season="week")).monitor


def test_as_declared():
    data = {"name": "m", "model": "m:1", "payload": {}, "monitor": {"decision": "output.label", "positive": "yes"}}
    assert convert(data, Endpoint, "it").monitor == Monitor(decision="output.label", positive="yes")
    with pytest.raises(InvalidArgument, match="did you mean 'reference'"):
        convert(data | {"monitor": {"referense": "x"}}, Endpoint, "it")
    assert convert(data, Endpoint, "it").payload == PayloadLog()
