"""Sinks as they are written in config.yaml."""

import msgspec
import pytest

from argosy.spec import settings
from argosy.spec.alerts import Alertmanager, Email, Slack, Webhook, check_set, shown
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Home

FILE = """
control: {port: 0}
alerts:
  ops: {kind: webhook, url: "https://me:pw@hooks.example.org/T/abc", headers: {Authorization: Bearer x}, secret: $KEY}
  chat: {kind: slack, url: $CHAT}
  mail: {kind: email, host: mail.example.org, sender: a@example.org, to: [b@example.org], user: me, password: pw}
  am: {kind: alertmanager, url: "http://127.0.0.1:9093", labels: {team: ml}}
"""


def test_sinks_are_read_by_name_from_the_file(tmp_path):
    place = Home(tmp_path)
    place.config.write_text(FILE)
    found, origin = settings.effective(place, {"ARGOSY_GATEWAY_PORT": "0"})
    assert [type(each) for each in found.alerts.values()] == [Webhook, Slack, Email, Alertmanager]
    assert origin["alerts.ops"] == str(place.config)
    assert settings.load(Home(tmp_path / "none"), {}).alerts == {}


def test_no_variable_sets_a_sink(tmp_path):
    place = Home(tmp_path)
    place.config.write_text(FILE)
    with pytest.raises(InvalidArgument, match=r"ARGOSY_ALERTS_OPS names no setting: where alerts go stands in config"):
        settings.load(place, {"ARGOSY_ALERTS_OPS": "x"})
    with pytest.raises(InvalidArgument, match="there are ARGOSY_CONTROL_HOST") as error:
        settings.load(place, {"ARGOSY_NONE": "x"})
    assert "ALERTS" not in error.value.message


@pytest.mark.parametrize(
    ("sink", "told"),
    [
        ("{kind: webhook, url: hooks.example.org/secret}", "url must begin with .* not with 'hooks.example.org'"),
        ("{kind: pager, url: x}", "Invalid value 'pager'"),
        ("{kind: slack}", "missing required field `url`"),
        ("{kind: slack, uri: x}", "unknown key 'uri'.*did you mean 'url'"),
        ('{kind: slack, url: "$not a name"}', "no name of a variable"),
        ('{kind: slack, url: "http://x/\\ny"}', "one line"),
        ("{kind: webhook, url: $A, headers: {'a b': c}}", "no name of a header"),
        ("{kind: alertmanager, url: $A, labels: {a-b: c}}", "no name of a label"),
        ("{kind: email, host: h, port: 0, sender: a@b, to: [c@d]}", "port must be at least 1"),
        ("{kind: email, host: h, sender: a@b, to: []}", "at least one"),
        ("{kind: email, host: h, sender: a@b, to: [c@d], tls: maybe}", "tls is 'starttls', 'tls', 'none', not 'maybe'"),
        ("{kind: email, host: h, sender: a@b, to: [c@d], tls: none, password: x}", "without tls"),
    ],
)
def test_bad_sinks(tmp_path, sink, told):
    place = Home(tmp_path)
    place.config.write_text(f"alerts:\n  ops: {sink}\n")
    with pytest.raises(InvalidArgument, match=told):
        settings.load(place, {})


def test_a_bad_name(tmp_path):
    place = Home(tmp_path)
    place.config.write_text("alerts: {'A B': {kind: slack, url: $X}}")
    with pytest.raises(InvalidArgument, match="the name of a sink 'A B' is not valid"):
        settings.load(place, {})


def test_variables_must_be_set_and_hold_what_they_should():
    sinks = {"ops": Webhook(url="http://x", secret="$KEY"), "chat": Slack(url="$CHAT")}
    check_set(sinks, {"KEY": "k", "CHAT": "https://hooks.example.org/x"})
    with pytest.raises(InvalidArgument, match=r"^alerts\.ops: the variable KEY is not set$"):
        check_set(sinks, {"CHAT": "https://x"})
    with pytest.raises(InvalidArgument, match=r"^alerts\.chat: the variable CHAT holds no URL"):
        check_set(sinks, {"KEY": "k", "CHAT": "secret"})


def test_no_secret_is_shown(tmp_path):
    place = Home(tmp_path)
    place.config.write_text(FILE)
    found = {name: shown(sink) for name, sink in settings.load(place, {}).alerts.items()}
    assert found["ops"] == {
        "kind": "webhook",
        "url": "https://hooks.example.org/***",
        "headers": {"Authorization": "***"},
        "secret": "$KEY",
    }
    assert found["chat"] == {"kind": "slack", "url": "$CHAT"}
    assert (found["mail"]["user"], found["mail"]["password"]) == ("me", "***")
    assert found["am"]["url"] == "http://127.0.0.1:9093"
    assert shown(Webhook(url="https://a@b"))["url"] == "https://b"
    assert "pw" not in msgspec.json.encode(found).decode()
