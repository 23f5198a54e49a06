"""What would be ignored is refused."""

import pytest

from argosy.control.honoured import PENDING, check_honoured
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.guard import Guard, Metric
from argosy.spec.scaling import Scaling, WaitingRoom
from argosy.spec.settings import PrometheusSettings, Settings
from argosy.spec.slo import Slo

USES = {
    "slos": {"slos": (Slo(),)},
    "waiting without replicas.min of 0": {"waiting": WaitingRoom(size=3)},
}


def test_a_plain_declaration_passes():
    check_honoured(Endpoint(name="digits", model="digits:1", replicas=3), Settings())


def test_a_waiting_room_goes_with_an_endpoint_that_may_sleep():
    check_honoured(Endpoint(name="d", model="d:1", replicas=Scaling(min=0), waiting=WaitingRoom(size=3)), Settings())


@pytest.mark.parametrize("setting", sorted(USES.keys() & PENDING.keys()))
def test_a_setting_without_effect_is_named(setting: str):
    with pytest.raises(InvalidArgument, match=setting):
        check_honoured(Endpoint(name="digits", model="digits:1", **USES[setting]), Settings())


def test_users_metrics_need_a_prometheus():
    guard = Guard(metrics=(Metric(name="score", query="score{r='$revision'}"),))
    endpoint = Endpoint(name="digits", model="digits:1", guard=guard)
    with pytest.raises(InvalidArgument, match=r"set prometheus\.url"):
        check_honoured(endpoint, Settings())
    check_honoured(endpoint, Settings(prometheus=PrometheusSettings(url="http://127.0.0.1:9090")))
