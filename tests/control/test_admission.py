"""What would be ignored is refused."""

import pytest

from argosy.control.admission import PENDING, check_honoured
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.guard import Guard, Metric
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.scaling import Scaling, WaitingRoom
from argosy.spec.settings import ControlSettings, PrometheusSettings, Settings, TriggerSettings
from argosy.spec.trigger import Command, RealisedDrop

USES = {
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


def test_an_open_control_api_runs_no_programs_unless_it_is_told_to():
    retrain = RealisedDrop(name="retrain", metric="f1", run=Command(argv=("retrain",)))
    endpoint = Endpoint(
        name="d", model="d:1", payload=PayloadLog(), monitor=Monitor(reference="/data/r.parquet"), triggers=(retrain,)
    )
    check_honoured(endpoint, Settings())
    exposed = ControlSettings(expose=True)
    with pytest.raises(InvalidArgument, match=r"'retrain' runs a command.*triggers\.commands"):
        check_honoured(endpoint, Settings(control=exposed))
    check_honoured(endpoint, Settings(control=exposed, triggers=TriggerSettings(commands=True)))
