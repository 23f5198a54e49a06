from typing import Any

import pytest

from argosy.spec.errors import InvalidArgument
from argosy.spec.scaling import ActivatorQueue, Scaling
from argosy.spec.strict import convert


@pytest.mark.parametrize(
    "wrong",
    [
        {"min": -1},
        {"min": 3, "max": 2},
        {"min": 0, "max": 0},
        {"target": 1.0},
        {"late": 0.0},
        {"confidence": float("nan")},
        {"wait": float("inf")},
        {"window": 0},
        {"window": 100, "history": 50},
        {"maximum": 3},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        convert(wrong, Scaling, "scaling")


def test_a_room_has_bounds() -> None:
    assert ActivatorQueue(size=0).size == 0
    for wrong in ({"size": -1}, {"size": 4097}, {"deadline": -1.0}, {"deadline": float("inf")}):
        with pytest.raises(InvalidArgument):
            ActivatorQueue(**wrong)
