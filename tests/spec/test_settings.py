import pytest

from argosy.spec import settings
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Home, Settings


def test_defaults_file_environment(tmp_path):
    place = Home(tmp_path)
    assert settings.load(place, {}) == Settings()
    place.config.write_text("gateway:\n  port: 9000\n")
    found, origin = settings.effective(place, {"ARGOSY_CONTROL_PORT": "7171"})
    assert (found.gateway.port, found.control.port) == (9000, 7171)
    assert origin["gateway.port"].endswith("config.yaml")
    assert origin["control.port"] == "ARGOSY_CONTROL_PORT"
    assert origin["gateway.host"] == "default"


def test_unknown_key_names_the_nearest(tmp_path):
    place = Home(tmp_path)
    place.config.write_text("gateway:\n  prot: 9000\n")
    with pytest.raises(InvalidArgument, match=r"unknown key 'prot'.*did you mean 'port'"):
        settings.load(place, {})


def test_unknown_variable_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="ARGOSY_GATEWAY_PROT names no setting"):
        settings.load(Home(tmp_path), {"ARGOSY_GATEWAY_PROT": "1"})


@pytest.mark.parametrize("section", ["gateway", "control"])
def test_a_port_that_is_none(tmp_path, section):
    place = Home(tmp_path)
    place.config.write_text(f"{section}:\n  port: 99999\n")
    with pytest.raises(InvalidArgument, match=rf"{section}\.port must be at most 65535"):
        settings.load(place, {})


def test_wrong_type(tmp_path):
    with pytest.raises(InvalidArgument, match="Expected `int`"):
        settings.load(Home(tmp_path), {"ARGOSY_GATEWAY_PORT": "many"})
