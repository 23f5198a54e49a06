import msgspec
import pytest

from argosy.cli.doctor import hide


def test_values_and_origins(run, place, monkeypatch):
    place.config.write_text("gateway:\n  port: 9000\n")
    monkeypatch.setenv("ARGOSY_CONTROL_PORT", "7171")
    found = msgspec.json.decode(run("config", "--json").stdout)
    assert found["home"] == str(place.root)
    assert found["settings"]["gateway.port"] == {"value": 9000, "origin": str(place.config)}
    assert found["settings"]["control.port"] == {"value": 7171, "origin": "ARGOSY_CONTROL_PORT"}
    assert found["settings"]["gateway.host"]["origin"] == "default"
    assert "gateway.port" in run("config").stdout


def test_bad_settings(run, place):
    place.config.write_text("gateway: {prot: 1}\n")
    result = run("config")
    assert result.exit_code == 2
    assert "did you mean 'port'?" in result.stderr


@pytest.mark.parametrize(
    ("value", "shown"),
    [("postgresql://me:secret@h/db", "postgresql://me:***@h/db"), ("sqlite:///x", "sqlite:///x"), (8080, 8080)],
)
def test_passwords_are_hidden(value, shown):
    assert hide(value) == shown


def test_sinks_are_shown_without_their_secrets(run, place):
    place.config.write_text(
        "alerts:\n  ops: {kind: webhook, url: 'https://hooks.example.org/T0/secret', secret: $KEY}\n"
        "  mail: {kind: email, host: h, sender: a@b.org, to: [c@d.org, e@f.org], user: u, password: secret}\n"
    )
    said = run("config")
    assert "alerts.ops" in said.stdout
    assert "kind webhook, url https://hooks.example.org/***, secret $KEY" in said.stdout
    assert "to c@d.org e@f.org" in said.stdout
    assert "/secret" not in said.stdout
    assert "password ***" in said.stdout
    found = msgspec.json.decode(run("config", "--json").stdout)["settings"]
    assert (found["alerts.ops"]["value"]["secret"], found["alerts.mail"]["value"]["password"]) == ("$KEY", "***")


def test_headers_of_the_collector_are_shown_by_their_variables(run, place):
    place.config.write_text("tracing: {url: 'http://c:4318', headers: {authorization: $OTEL, x-key: secret}}\n")
    found = msgspec.json.decode(run("config", "--json").stdout)["settings"]
    assert found["tracing.headers"]["value"] == {"authorization": "$OTEL", "x-key": "***"}
    assert "authorization $OTEL" in run("config").stdout
