"""Sending a notice to a sink: one try. What fails raises Unavailable, what never can work InvalidArgument."""

import asyncio
import hashlib
import hmac
import os
import smtplib
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

import msgspec

from argosy.control.alerts import message
from argosy.monitoring.alert import Notice
from argosy.spec.alerts import Alertmanager, Email, Sink, Slack, Webhook
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.secret import resolved

TIMEOUT = 10.0
RETRIED = (408, 425, 429)


async def send(sink: Sink, notice: Notice, environ: Mapping[str, str] = os.environ) -> str:
    """Tell one sink, and what it said. Raises Unavailable to be tried again, InvalidArgument where trying again is of
    no use."""
    if isinstance(sink, Email):
        return await asyncio.to_thread(_mail, sink, notice, environ)
    if isinstance(sink, Webhook):
        body = msgspec.json.encode(message.told(notice))
        return await post(sink.url, body, signed(sink, body, environ), environ)
    if isinstance(sink, Slack):
        return await post(sink.url, msgspec.json.encode(message.slack(notice)), {}, environ)
    body = msgspec.json.encode(message.alertmanager(notice, sink.labels, time.time()))
    return await post(f"{resolved(sink.url, environ, 'alerts').rstrip('/')}/api/v2/alerts", body, {}, environ)


def signed(sink: Webhook, body: bytes, environ: Mapping[str, str]) -> dict[str, str]:
    """The headers of a webhook, the signature among them. Raises InvalidArgument where a variable is not set."""
    headers = {name: resolved(value, environ, "alerts") for name, value in sink.headers.items()}
    if sink.secret:
        digest = hmac.new(resolved(sink.secret, environ, "alerts").encode(), body, hashlib.sha256).hexdigest()
        headers["X-Argosy-Signature"] = f"sha256={digest}"
    return headers


async def post(url: str, body: bytes, headers: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Send JSON once; what was answered. Raises as `send` does."""
    import httpx

    address = resolved(url, environ, "alerts")
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
            answer = await client.post(address, content=body, headers={"Content-Type": "application/json", **headers})
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InvalidArgument(f"alerts: {_host(address)} is no address to send to: {error}") from None
    except httpx.HTTPError as error:
        raise Unavailable(f"{_host(address)} did not take what was sent: {error or type(error).__name__}") from None
    said = f"{_host(address)} answered {answer.status_code}: {answer.text[:200]}".rstrip(": ")
    if answer.is_success:
        return said
    if answer.status_code >= 500 or answer.status_code in RETRIED:
        raise Unavailable(said)
    raise InvalidArgument(said)


def _host(url: str) -> str:
    """Without the path, which often is a secret."""
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or "the sink"


def _mail(sink: Email, notice: Notice, environ: Mapping[str, str]) -> str:
    mail = EmailMessage()
    mail["Subject"] = message.subject(notice)
    mail["From"], mail["To"] = sink.sender, ", ".join(sink.to)
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{hashlib.sha256(notice.id.encode()).hexdigest()[:32]}@argosy>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text(notice))
    try:
        with _server(sink) as server:
            if sink.user:
                server.login(resolved(sink.user, environ, "alerts"), resolved(sink.password, environ, "alerts"))
            server.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        raise InvalidArgument(f"{sink.host} does not take the user and password of alerts: {error.smtp_code}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise Unavailable(f"{sink.host} did not take the mail: {error}") from None
    return f"{sink.host} took the mail"


def _server(sink: Email) -> Any:
    context = ssl.create_default_context()
    if sink.tls == "tls":
        return smtplib.SMTP_SSL(sink.host, sink.port, timeout=TIMEOUT, context=context)
    server = smtplib.SMTP(sink.host, sink.port, timeout=TIMEOUT)
    try:
        if sink.tls == "starttls":
            server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def repeats(sink: Sink) -> bool:
    """Whether a sink forgets what it is not told again."""
    return isinstance(sink, Alertmanager)
