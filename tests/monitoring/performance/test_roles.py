"""What is decision and score: named, or left no doubt by the signature, or refused."""

import pytest

from argosy.monitoring.performance.roles import roles
from argosy.spec.errors import InvalidArgument
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, TensorSpec

LOG = PayloadLog()
AGE = TensorSpec(name="x", datatype="FP64", shape=(-1, 2), columns=("age", "city"))
LABEL = TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label")
TEN = TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 10), semantic="probability")
CHANCE = TensorSpec(name="probability", datatype="FP64", shape=(-1,), semantic="probability")
PRICE = TensorSpec(name="price", datatype="FP32", shape=(-1, 1))
LOGITS = TensorSpec(name="logits", datatype="FP32", shape=(-1, 3))


def of(*outputs: TensorSpec, log: PayloadLog = LOG, **monitor):
    return roles(Monitor(**monitor), Signature(inputs=(AGE,), outputs=outputs), log)


def test_what_the_signature_says():
    found = of(LABEL, TEN)
    assert (found.kind, found.decision, found.score) == ("classification", "output.label", "output.probabilities")
    assert (found.classes, found.positive) == (tuple("0123456789"), "")
    assert found.features == ("input.age", "input.city")
    found = of(CHANCE)
    assert (found.kind, found.decision, found.score, found.threshold) == (
        "classification",
        "",
        "output.probability",
        0.5,
    )
    assert (found.classes, found.positive) == (("0", "1"), "1")
    assert (of(PRICE).kind, of(PRICE).decision, of(PRICE).metric) == ("regression", "output.price", "mae")
    assert (of(LABEL).score, of(LABEL).classes, of(LABEL, positive="1").positive) == ("", (), "1")


def test_what_is_declared():
    assert of(LABEL, CHANCE, threshold=0.9).decision == ""
    assert of(LABEL, CHANCE, threshold=0.9).threshold == 0.9
    assert of(LABEL, PRICE, kind="regression", decision="output.price").decision == "output.price"
    assert of(CHANCE, classes=("no", "yes"), positive="no").positive == "no"
    assert of(PRICE, CHANCE, metric="rmse", decision="output.price").kind == "regression"


@pytest.mark.parametrize(
    ("outputs", "monitor", "says"),
    [
        ((LOGITS,), {}, "kind is needed"), ((PRICE, PRICE_2 := TensorSpec(name="p", datatype="FP32", shape=(-1,))), {},
        "could be several"), ((LABEL,), {"decision": "output.lable"}, "lable.*holds output.label"),
        ((LABEL, CHANCE), {"score": "probability"}, "no output"), ((CHANCE,), {"positive": "yes"}, "monitor.classes"),
        ((CHANCE, PRICE_2), {"kind": "regression"}, "could be several"),
    ],
)  # fmt: skip
def test_what_is_in_doubt(outputs, monitor, says):
    with pytest.raises(InvalidArgument, match=f"monitor.*{says}"):
        of(*outputs, **monitor)


def test_hidden_columns_are_neither_features_nor_decisions():
    assert of(CHANCE, log=PayloadLog(redact=("age",))).features == ("input.city",)
    assert of(CHANCE, log=PayloadLog(hash=("age", "city"))).features == ()
    with pytest.raises(InvalidArgument, match="no output that the log holds"):
        of(LABEL, CHANCE, log=PayloadLog(redact=("label",)), decision="output.label")
    wide = TensorSpec(name="x", datatype="FP32", shape=(-1, 2000))
    assert roles(Monitor(), Signature(inputs=(wide,), outputs=(CHANCE,)), PayloadLog(max_elements=4096)).features == ()
