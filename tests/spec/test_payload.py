import pytest

from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.payload import PayloadLog
from argosy.spec.slo import Slo
from argosy.spec.strict import convert


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample": 1.5}, {"sample": float("nan")}, {"max_elements": 0}, {"max_text": 2**30}, {"flush": 0},
        {"keep_days": 0}, {"keep_days": float("inf")}, {"keep_bytes": 0}, {"redact": ("a",), "hash": ("a",)},
    ],
)  # fmt: skip
def test_logs_that_cannot_be(wrong):
    with pytest.raises(InvalidArgument, match="payload"):
        PayloadLog(**wrong)


def test_as_declared():
    data = {"name": "m", "model": "m:1", "payload": {"sample": 0.1, "hash": ["email"]}, "slos": [{"objective": 0.99}]}
    endpoint = convert(data, Endpoint, "the declaration")
    assert endpoint.payload == PayloadLog(sample=0.1, hash=("email",))
    assert endpoint.slos == (Slo(objective=0.99),)
    with pytest.raises(InvalidArgument, match="two of slos have the same name"):
        Endpoint(name="m", model="m:1", slos=(Slo(), Slo(objective=0.9)))
