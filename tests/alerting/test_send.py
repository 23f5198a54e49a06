"""Every kind of sink against a real server of its protocol."""

import hashlib
import hmac
import socket
import ssl
import subprocess
import time
from email import message_from_bytes, policy

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from argosy.alerting.send import send
from argosy.spec.alerts import Alertmanager, Email, Slack, Webhook
from argosy.spec.errors import InvalidArgument, Unavailable
from tests.alerting.kit import notice, web
from tests.ports import free
from tests.programs import need


@pytest.fixture
def site():
    with web() as told:
        yield told


async def test_webhook(site):
    sink = Webhook(url=f"{site.url}/hook", headers={"Authorization": "$TOKEN"}, secret="$SECRET")
    said = await send(sink, notice(), {"TOKEN": "Bearer t", "SECRET": "s"})
    assert said == "127.0.0.1 answered 200"
    ((path, headers, body),) = site.seen
    assert (path, headers["authorization"]) == ("/hook", "Bearer t")
    assert headers["x-argosy-signature"] == f"sha256={hmac.new(b's', body, hashlib.sha256).hexdigest()}"
    assert site.bodies[0] == {
        "id": "digits/slo/latency@1800000000:firing:page",
        "incident": "digits/slo/latency@1800000000",
        "status": "firing",
        "severity": "page",
        "endpoint": "digits",
        "title": "slow & <late>",
        "reason": "2 % were bad <@all>",
        "since": "2027-01-15T08:00:00.000Z",
        "ended": None,
    }


async def test_slack(site):
    await send(Slack(url="$HOOK"), notice(), {"HOOK": f"{site.url}/services/T/B/x"})
    (body,) = site.bodies
    assert body["text"] == (":rotating_light: *[page] digits: slow &amp; &lt;late&gt;*\n2 % were bad &lt;@all&gt;")
    await send(Slack(url=site.url), notice("resolved", ended=1.9e9), {})
    assert ":white_check_mark: *[page] resolved: digits" in site.bodies[1]["text"]


@pytest.mark.parametrize(
    ("status", "error"), [(500, Unavailable), (429, Unavailable), (404, InvalidArgument), (302, InvalidArgument)]
)
async def test_what_a_site_answers(site, status, error):
    site.statuses = [status]
    with pytest.raises(error, match=f"127.0.0.1 answered {status}"):
        await send(Webhook(url=f"{site.url}/secret"), notice(), {})


async def test_nobody_there():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="did not take"):
            await send(Webhook(url=f"http://127.0.0.1:{held.getsockname()[1]}/secret"), notice(), {})
    with pytest.raises(InvalidArgument, match="TOKEN is not set"):
        await send(Slack(url="$TOKEN"), notice(), {})
    with pytest.raises(InvalidArgument, match="no address to send to"):
        await send(Slack(url="$TOKEN"), notice(), {"TOKEN": "ftp://x/y"})


class Inbox:
    """What an SMTP server took, and what it refuses."""

    def __init__(self) -> None:
        self.mails: list = []
        self.answer = "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return self.answer


@pytest.fixture
def inbox():
    box = Inbox()
    box.port = free()
    server = Controller(box, hostname="127.0.0.1", port=box.port, ready_timeout=60)
    server.start()
    yield box
    server.stop()


def to(port: int, **more) -> Email:
    return Email(
        host="127.0.0.1", port=port, sender="argosy@example.org", to=("a@example.org", "b@example.org"), **more
    )


async def test_mail(inbox):
    await send(to(inbox.port, tls="none"), notice(title="zu langsam\r\nBcc: x@example.org é"), {})
    ((receivers, mail),) = inbox.mails
    assert receivers == ["a@example.org", "b@example.org"]
    assert mail["subject"] == "[page] digits: zu langsam  Bcc: x@example.org é"
    assert mail["bcc"] is None
    assert "2 % were bad" in mail.get_content()
    await send(to(inbox.port, tls="none"), notice(title="zu langsam\r\nBcc: x@example.org é"), {})
    assert inbox.mails[1][1]["message-id"] == mail["message-id"]


async def test_mail_that_is_not_taken(inbox):
    inbox.answer = "451 later"
    with pytest.raises(Unavailable, match="did not take the mail"):
        await send(to(inbox.port, tls="none"), notice(), {})
    with pytest.raises(Unavailable, match="STARTTLS"):
        await send(to(inbox.port), notice(), {})


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """A server that wants STARTTLS and a password, with a certificate that is trusted here."""
    cert, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    command = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def check(server, session, envelope, mechanism, data) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    box = Inbox()
    box.port = free()
    server = Controller(
        box, hostname="127.0.0.1", port=box.port, tls_context=context, require_starttls=True,
        authenticator=check, auth_required=True, ready_timeout=60,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    server.start()
    yield box
    server.stop()


async def test_mail_with_a_password(secure):
    sink = to(secure.port, user="me", password="$PASSWORD")
    await send(sink, notice(), {"PASSWORD": "right"})
    assert len(secure.mails) == 1
    with pytest.raises(InvalidArgument, match="does not take the user and password"):
        await send(sink, notice(), {"PASSWORD": "wrong"})


async def test_a_certificate_that_nobody_knows(secure, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unavailable, match="did not take the mail"):
        await send(to(secure.port), notice(), {})
    assert secure.mails == []


def test_addresses_that_are_none():
    for wrong in (
        {"to": ()},
        {"sender": "x"},
        {"to": ("a@b\nBcc: c@d",)},
        {"tls": "none", "password": "x"},
    ):
        with pytest.raises(InvalidArgument, match="alerts: "):
            Email(**({"host": "h", "sender": "a@b", "to": ("c@d",)} | wrong))


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    """The URL of Prometheus' Alertmanager, of Debian's package."""
    program = need("prometheus-alertmanager", "alertmanager")
    place = tmp_path_factory.mktemp("alertmanager")
    (place / "config.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    port = free()
    options = {"config.file": place / "config.yml", "storage.path": place, "web.listen-address": f"127.0.0.1:{port}"}
    command = [program, *(f"--{name}={value}" for name, value in options.items()), "--cluster.listen-address="]
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while True:
            try:
                if httpx.get(f"{url}/-/ready").is_success:
                    break
            except httpx.TransportError:
                pass
            assert server.poll() is None, (place / "log").read_text()
            assert time.monotonic() < end, (place / "log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        server.kill()
        server.wait()


async def test_alertmanager(alertmanager):
    sink, now = Alertmanager(url=f"{alertmanager}/", labels={"team": "ml"}), time.time()

    def alerts() -> list:
        return httpx.get(f"{alertmanager}/api/v2/alerts").json()

    await send(sink, notice(since=now - 60, severity="ticket"), {})
    await send(sink, notice("worse", since=now - 60), {})
    (alert,) = alerts()
    assert (alert["labels"]["alertname"], alert["labels"]["team"]) == ("slow & <late>", "ml")
    assert (alert["labels"]["endpoint"], alert["labels"]["cause"]) == ("digits", "digits/slo/latency")
    assert alert["annotations"]["severity"] == "page"
    await send(sink, notice("resolved", since=now - 60, ended=now - 1), {})
    assert alerts() == []
