"""Sending a notice to a sink: one try. What fails raises Unavailable, what never can work InvalidArgument."""

import asyncio
import hashlib
import hmac
import html
import os
import smtplib
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import msgspec

from argosy.alerting import destination
from argosy.alerting.allowed import Allowed
from argosy.alerting.incident import Notice
from argosy.spec.alerts import Alertmanager, Email, Sink, Slack, Webhook
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.foreign import printable
from argosy.spec.secret import reference, resolved

if TYPE_CHECKING:
    import httpx

HEADS = {"firing": "", "worse": "worse: ", "resolved": "resolved: "}
BELIEVED = 24 * 3600.0
"""Seconds for which Alertmanager believes in an alert of which it hears no more."""
TIMEOUT, WHOLE = 10.0, 30.0
"""Seconds for each step of sending, and for all of them."""
RETRIED = (408, 425, 429)


def webhook(notice: Notice) -> dict[str, str | None]:
    """The body of a webhook. `id` is the same whenever the same news is sent again; `incident` is that of the whole
    incident. Times are ISO 8601 in UTC."""
    incident, finding = notice.incident, notice.incident.finding
    return {
        "id": notice.id,
        "incident": incident.id,
        "status": notice.kind,
        "severity": finding.severity,
        "endpoint": finding.endpoint,
        "title": finding.title,
        "reason": finding.reason,
        "since": _moment(incident.since),
        "ended": None if incident.ended is None else _moment(incident.ended),
    }


def subject(notice: Notice) -> str:
    """One line, without line breaks: a header ends at one."""
    finding = notice.incident.finding
    line = f"[{finding.severity}] {HEADS[notice.kind]}{finding.endpoint}: {finding.title}"
    return printable(line)[:200]


def text(notice: Notice) -> str:
    incident, finding = notice.incident, notice.incident.finding
    lines = [finding.reason, "", f"endpoint: {finding.endpoint}", f"severity: {finding.severity}"]
    lines.append(f"since: {_moment(incident.since)}")
    lines += [f"until: {_moment(incident.ended)}"] if incident.ended is not None else []
    return "\n".join([*lines, f"incident: {incident.id}", ""])


def slack(notice: Notice) -> dict[str, Any]:
    """The body for an incoming webhook; what users wrote cannot call people or make links."""
    sign = ":white_check_mark:" if notice.kind == "resolved" else ":rotating_light:"
    title, reason = (html.escape(words, quote=False) for words in (subject(notice), notice.incident.finding.reason))
    return {"text": f"{sign} *{title}*\n{reason}"}


def alertmanager(notice: Notice, labels: dict[str, str], now: float) -> list[dict[str, Any]]:
    """The body of POST /api/v2/alerts. The labels name the incident's cause, so that it stays one alert."""
    incident, finding = notice.incident, notice.incident.finding
    ours = {"alertname": finding.title, "endpoint": finding.endpoint, "cause": finding.key, "source": "argosy"}
    annotations = {"summary": subject(notice), "description": finding.reason, "severity": finding.severity}
    ends = incident.ended if incident.ended is not None else now + BELIEVED
    moments = {"startsAt": _moment(incident.since), "endsAt": _moment(ends)}
    return [{"labels": labels | ours, "annotations": annotations, **moments}]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def send(sink: Sink, notice: Notice, environ: Mapping[str, str] = os.environ) -> str:
    """Notify one sink, and what it answered. Raises Unavailable to be tried again, InvalidArgument where trying again
    is of no use."""
    if isinstance(sink, Email):
        return await asyncio.to_thread(_mail, sink, notice, environ)
    if isinstance(sink, Webhook):
        body = msgspec.json.encode(webhook(notice))
        return await post(sink.url, body, signed(sink, body, environ), environ)
    if isinstance(sink, Slack):
        return await post(sink.url, msgspec.json.encode(slack(notice)), {}, environ)
    body = msgspec.json.encode(alertmanager(notice, sink.labels, time.time()))
    return await post(f"{resolved(sink.url, environ, 'alerts').rstrip('/')}/api/v2/alerts", body, {}, environ)


def signed(sink: Webhook, body: bytes, environ: Mapping[str, str]) -> dict[str, str]:
    """The headers of a webhook, the signature among them. Raises InvalidArgument where a variable is not set, or holds
    what no header can."""
    headers: dict[str, str] = {}
    for name, value in sink.headers.items():
        word, _, _ = value.rpartition("$") if reference(value) else ("", "", "")
        headers[name] = word + resolved(value.removeprefix(word), environ, "alerts")
        if not (headers[name].isascii() and headers[name].isprintable()):
            raise InvalidArgument(f"alerts: the value of the header {name} must be of one line of ASCII")
    if sink.secret:
        digest = hmac.new(resolved(sink.secret, environ, "alerts").encode(), body, hashlib.sha256).hexdigest()
        headers["X-Argosy-Signature"] = f"sha256={digest}"
    return headers


async def post(
    url: str, body: bytes, headers: Mapping[str, str], environ: Mapping[str, str], allowed: Allowed | None = None
) -> str:
    """Send JSON once; which status was answered. What else was answered is neither read nor logged. Raises as `send`
    does. With `allowed`, which says what callers of the control API may call, PermissionDenied as well."""
    import httpx

    address = destination.parse(resolved(url, environ, "alerts"), "alerts")
    headers = {"Content-Type": "application/json", **headers}
    addresses = [""]
    if allowed is not None:
        destination.check_host(address, allowed, "the webhook")
        if not destination.by_proxy(address):
            addresses = await destination.addresses(address, allowed, "the webhook")
    status = 0
    for number, each in enumerate(addresses, 1):
        try:
            async with asyncio.timeout(WHOLE):
                status = await _status(address, each, body, headers)
            break
        except (TimeoutError, httpx.HTTPError, UnicodeError) as error:
            if number == len(addresses) or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                raise Unavailable(f"{address.host} did not take what was sent: {_why(error)}") from None
    said = f"{address.host} answered {status}"
    if 200 <= status < 300:
        return said
    if status >= 500 or status in RETRIED:
        raise Unavailable(said)
    raise InvalidArgument(said)


async def _status(url: "httpx.URL", address: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send it to this address of the URL's host, or wherever its name and the environment's proxy lead."""
    import httpx

    extensions: dict[str, Any] = {}
    transport = None
    if address:
        extensions, headers = {"sni_hostname": url.host}, {**headers, "Host": url.netloc.decode("ascii")}
        url, transport = url.copy_with(host=address), httpx.AsyncHTTPTransport()
    async with (
        httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, transport=transport) as client,
        client.stream("POST", url, content=body, headers=headers, extensions=extensions) as answer,
    ):
        return answer.status_code


def _why(error: Exception) -> str:
    """Without what was sent or answered: other errors repeat lines of it."""
    import httpx

    return str(error) if isinstance(error, httpx.ConnectError) and str(error) else type(error).__name__


def _mail(sink: Email, notice: Notice, environ: Mapping[str, str]) -> str:
    mail = EmailMessage()
    mail["Subject"] = subject(notice)
    mail["From"], mail["To"] = sink.sender, ", ".join(sink.to)
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{hashlib.sha256(notice.id.encode()).hexdigest()[:32]}@argosy>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text(notice))
    try:
        with _server(sink) as server:
            if sink.user:
                server.login(resolved(sink.user, environ, "alerts"), resolved(sink.password, environ, "alerts"))
            server.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        raise InvalidArgument(f"{sink.host} does not take the user and password of alerts: {error.smtp_code}") from None
    except smtplib.SMTPResponseException as error:
        raise Unavailable(f"{sink.host} did not take the mail: it answered {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = ", ".join(sorted({str(code) for code, _ in error.recipients.values()}))
        raise Unavailable(f"{sink.host} did not take the mail: it answered {codes}") from None
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
    """Whether a sink forgets what it is not sent again."""
    return isinstance(sink, Alertmanager)
