"""TLS of the control API, as other machines and as commands on this one meet it."""

import os
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from argosy.api import tls
from argosy.client.control import CA, TOKEN, URL, ControlClient, reached, running
from argosy.platform.detach import announced
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.settings import ControlSettings, Home, Settings, load
from tests.platform.up import Up, until

EXPOSED = "control: {host: 0.0.0.0, port: 0, expose: true}\ngateway: {port: 0}\n"


def made(home: Home, **more: object) -> tls.Certificate:
    found = tls.certificate(home, ControlSettings(host="0.0.0.0", expose=True, **more))  # pyright: ignore
    assert found is not None
    return found


def strict(authority: Path) -> ssl.SSLContext:
    """As Python 3.13 verifies by default."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def argosy(home: Home, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from argosy.cli.main import main; main()", *words]
    given = {**os.environ, "ARGOSY_HOME": str(home.root), **more}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize(
    ("settings", "spoken"),
    [
        (ControlSettings(), False),
        (ControlSettings(expose=True), False),
        (ControlSettings(host="::1"), False),
        (ControlSettings(host="0.0.0.0", expose=True), True),
        (ControlSettings(host="10.0.0.1", expose=True), True),
        (ControlSettings(host="0.0.0.0", expose=True, plain=True), False),
        (ControlSettings(tls_cert="/c", tls_key="/k"), True),
    ],
)
def test_where_tls_is_spoken(settings: ControlSettings, spoken: bool):
    assert tls.spoken(settings) is spoken


@pytest.mark.parametrize(
    "wrong", [{"tls_cert": "/c"}, {"tls_key": "/k"}, {"tls_cert": "/c", "tls_key": "/k", "plain": True}]
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, object]):
    with pytest.raises(InvalidArgument, match=r"control\.(tls_cert|plain)"):
        ControlSettings(**wrong)  # pyright: ignore


def test_one_that_is_made_is_kept_and_its_key_is_nobodys_else(home: Home):
    first = made(home)
    key = home.root / "tls" / "control.key"
    assert (stat.S_IMODE(key.stat().st_mode), stat.S_IMODE(key.parent.stat().st_mode)) == (0o600, 0o700)
    assert made(home).fingerprint == first.fingerprint
    key.chmod(0o644)
    assert made(home).fingerprint != first.fingerprint, "a key that others could read is another's"
    assert not tls._good(first.path, key, ["192.0.2.7"])
    key.write_text("no key")
    made(home)
    assert tls._good(first.path, key, [])


def test_one_that_ends_soon_is_made_anew(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tls, "DAYS", tls.LEFT - 1)
    first = made(home)
    monkeypatch.undo()
    assert made(home).fingerprint != first.fingerprint


def test_a_certificate_that_cannot_be_used_is_named(home: Home, tmp_path: Path):
    given = {"tls_cert": str(tmp_path / "c"), "tls_key": str(tmp_path / "k")}
    with pytest.raises(InvalidArgument, match=str(tmp_path)):
        made(home, **given)
    (tmp_path / "c").write_text("x")
    (tmp_path / "k").write_text("y")
    with pytest.raises(InvalidArgument, match="cannot use the certificate"):
        made(home, **given)


def test_renewed_files_are_taken_up_and_broken_ones_are_not(home: Home):
    found = made(home)
    assert not found.renewed()
    before, key = found.fingerprint, home.root / "tls" / "control.key"
    good = found.path.read_bytes(), key.read_bytes()
    found.path.write_text("broken")
    with pytest.raises(InvalidArgument):
        found.renewed()
    assert found.fingerprint == before
    found.path.write_bytes(good[0])
    tls._make(found.path, key, "0.0.0.0")
    assert found.renewed()
    assert found.fingerprint != before


@pytest.mark.slow
def test_an_exposed_platform_speaks_tls_alone(home: Home, start: Callable[..., Up], tmp_path: Path):
    home.config.write_text(EXPOSED)
    platform = start([sys.executable, "-m", "argosy.console"]).ready()
    found = running(home)
    assert found is not None
    authority, token = Path(found.certificate), (home.run / "token").read_text()
    headers = {"authorization": f"Bearer {token}"}
    status = httpx.get(f"{found.url}/v1/status", headers=headers, verify=strict(authority))
    assert (found.url.partition(":")[0], status.status_code) == ("https", 200)
    assert found.fingerprint in platform.out.read_text()
    assert str(authority) in platform.out.read_text()
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{found.url}/v1/status", headers=headers)
    with pytest.raises(httpx.HTTPError):
        httpx.get(found.url.replace("https", "http") + "/v1/status", headers=headers)
    assert ControlClient(home).get("/v1/status")["home"] == str(home.root), "on this machine nothing more is said"
    cookies = httpx.post(
        f"{found.url}/console/login", data={"token": token}, verify=strict(authority)
    ).headers.get_list("set-cookie")
    assert all("Secure" in each and "HttpOnly" in each and "SameSite=strict" in each for each in cookies)
    assert len(cookies) == 1

    elsewhere = Home(tmp_path / "elsewhere").create()
    there = {URL: found.url, TOKEN: token, CA: str(authority)}
    assert argosy(elsewhere, "ps", "--json", **there).returncode == 0
    assert "CERTIFICATE_VERIFY_FAILED" in argosy(elsewhere, "ps", **(there | {CA: ""})).stderr
    refused = argosy(elsewhere, "ps", **(there | {URL: "http://192.0.2.1:7070"}))
    assert (refused.returncode, "in clear" in refused.stderr) == (InvalidArgument.exit, True)

    tls._make(authority, authority.with_name("control.key"), "0.0.0.0")
    until(lambda: (now := announced(home, platform.process.pid)) is not None and now.fingerprint != found.fingerprint)
    assert ControlClient(home).get("/v1/status")["pid"] == platform.process.pid
    assert platform.stop() == 0


def test_on_this_machine_another_certificate_is_told_nothing(home: Home, start: Callable[..., Up]):
    home.config.write_text(EXPOSED)
    platform = start().ready()
    record = home.run / "control.json"
    found = running(home)
    assert found is not None
    record.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, fingerprint="0" * 64)))
    with pytest.raises(Unavailable, match="another certificate"):
        ControlClient(home).get("/v1/status")
    record.write_bytes(msgspec.json.encode(found))
    assert platform.stop() == 0


def test_which_platform_commands_talk_to(home: Home):
    assert reached({"ARGOSY_HOME": str(home.root)}) is None
    named = reached({URL: "https://control.example:7070/"})
    assert named is not None
    assert (named.url, named.pid) == ("https://control.example:7070", 0)
    for fine in ("http://127.0.0.1:7070", "http://localhost:1"):
        assert reached({URL: fine}) is not None
    with pytest.raises(InvalidArgument, match="in clear"):
        reached({URL: "http://control.example:7070"})
    assert load(home, {URL: "https://x", TOKEN: "t", CA: "/c"}) == load(home, {})


def test_prometheus_is_told_how(home: Home):
    assert tls.scraped(home, Settings()) == {}
    exposed = Settings(control=ControlSettings(host="0.0.0.0", expose=True))
    authority = str(home.root / "tls" / "control.pem")
    assert tls.scraped(home, exposed) == {"scheme": "https", "tls_config": {"ca_file": authority}}
    own = Settings(control=ControlSettings(tls_cert="/c", tls_key="/k"))
    assert tls.scraped(home, own) == {"scheme": "https"}


def test_the_certificate_that_is_made_has_the_names_of_the_settings(tmp_path: Path):
    home = Home(tmp_path).create()
    settings = ControlSettings(host="0.0.0.0", expose=True, names=("control.example",))
    first = tls.certificate(home, settings)
    assert first is not None
    assert tls._good(first.path, first.path.with_suffix(".key"), ["control.example"])
    again = tls.certificate(home, msgspec.structs.replace(settings, names=("control.example", "10.0.0.7")))
    assert again is not None
    assert again.fingerprint != first.fingerprint
