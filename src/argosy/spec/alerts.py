"""Where alerts go. A text that begins with `$` names a variable of the environment: secrets stay out of files."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.spec.secret import hidden, resolved

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://", "$")):
        begins = url.partition("/")[0][:40]
        raise InvalidArgument(
            f"alerts: url must begin with http:// or https://, or name a variable as in $HOOK, not with '{begins}'"
        )
    _check_texts((url,))


def _check_texts(texts: Iterable[str]) -> None:
    for text in texts:
        if text.startswith("$") and not _VARIABLE.fullmatch(text):
            raise InvalidArgument(f"alerts: '{text[:40]}' begins with $ and is no name of a variable, as in $HOOK")
        if not text.isprintable():
            raise InvalidArgument("alerts: a text must be of one line")


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="webhook", tag_field="kind"):
    """A POST of JSON. With `secret`, `X-Argosy-Signature: sha256=…` is the HMAC-SHA256 of the body."""

    url: str
    headers: dict[str, str] = {}
    secret: str = ""

    def __post_init__(self) -> None:
        _check_url(self.url)
        _check_texts((self.secret, *self.headers.values()))
        if wrong := next((name for name in self.headers if not _TOKEN.fullmatch(name)), None):
            raise InvalidArgument(f"alerts: '{wrong[:40]}' is no name of a header")


class Slack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="slack", tag_field="kind"):
    """An incoming webhook of Slack, or of what is compatible with it (Mattermost, Rocket.Chat, Discord's `/slack`)."""

    url: str

    def __post_init__(self) -> None:
        _check_url(self.url)


class Email(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="email", tag_field="kind"):
    """Mail by SMTP. `tls` is `starttls`, `tls` (from the first byte) or `none`."""

    host: str
    port: int = 587
    sender: str
    to: tuple[str, ...]
    tls: str = "starttls"
    user: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        _check_texts((self.user, self.password))
        if not self.host or not 1 <= self.port <= 65535:
            raise InvalidArgument(f"alerts: host must not be empty, and port 1 to 65535, not {self.port}")
        if self.tls not in ("starttls", "tls", "none"):
            raise InvalidArgument(f"alerts: tls is 'starttls', 'tls' or 'none', not '{self.tls[:20]}'")
        addresses = (self.sender, *self.to)
        if not self.to or any("@" not in each or any(ord(c) < 33 for c in each) for each in addresses):
            raise InvalidArgument("alerts: sender and to must be addresses like ops@example.org, to at least one")
        if self.tls == "none" and self.password:
            raise InvalidArgument("alerts: a password is not sent without tls")


class Alertmanager(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="alertmanager", tag_field="kind"
):
    """Prometheus' Alertmanager, API v2, at `url` (without `/api/v2/alerts`)."""

    url: str
    labels: dict[str, str] = {}

    def __post_init__(self) -> None:
        _check_url(self.url)
        if wrong := next((name for name in self.labels if not _LABEL.fullmatch(name)), None):
            raise InvalidArgument(f"alerts: '{wrong[:40]}' is no name of a label: letters, digits and _")


Sink = Webhook | Slack | Email | Alertmanager


def check_set(sinks: Mapping[str, Sink], environ: Mapping[str, str]) -> None:
    """Raises InvalidArgument where a sink names a variable that is not set, or one whose text is no URL."""
    for name, sink in sinks.items():
        for text in _secrets(sink):
            value = resolved(text, environ, f"alerts.{name}")
            if not isinstance(sink, Email) and text == sink.url and not value.startswith(("http://", "https://")):
                raise InvalidArgument(f"alerts.{name}: the variable {text[1:]} holds no URL: http:// or https://")


def shown(sink: Sink) -> dict[str, Any]:
    """A sink as it may be printed: without secrets, and of a URL, which often is one, the host alone. The names of
    variables are none."""
    found = cast("dict[str, Any]", msgspec.to_builtins(sink))
    for field in ("url", "secret", "password"):
        if found.get(field):
            found[field] = hidden(found[field])
    if "headers" in found:
        found["headers"] = {name: hidden(value) for name, value in found["headers"].items()}
    return found


def _secrets(sink: Sink) -> tuple[str, ...]:
    """The texts that may name variables."""
    if isinstance(sink, Email):
        return (sink.user, sink.password)
    more = (sink.secret, *sink.headers.values()) if isinstance(sink, Webhook) else ()
    return (sink.url, *more)
