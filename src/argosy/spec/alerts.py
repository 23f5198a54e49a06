"""Where alerts go. A text that begins with `$` names a variable of the environment: secrets stay out of files."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec
from msgspec import Meta, field

from argosy.spec.errors import InvalidArgument
from argosy.spec.secret import HEADER, VARIABLE, hidden, resolved
from argosy.spec.strict import Declaration, require

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://", "$")):
        begins = url.partition("/")[0][:40]
        raise InvalidArgument(
            f"alerts: url must begin with http:// or https://, or name a variable as in $HOOK, not with '{begins}'"
        )
    _check_texts((url,))


def _check_texts(texts: Iterable[str]) -> None:
    for text in texts:
        if text.startswith("$") and not VARIABLE.fullmatch(text[1:]):
            raise InvalidArgument(f"alerts: '{text[:40]}' begins with $ and is no name of a variable, as in $HOOK")
        if not text.isprintable():
            raise InvalidArgument("alerts: a text must be of one line")


class Webhook(Declaration, frozen=True, kw_only=True, tag="webhook", tag_field="kind"):
    """A POST of JSON. With `secret`, `X-Argosy-Signature: sha256=…` is the HMAC-SHA256 of the body."""

    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    secret: str = ""

    def __post_init__(self) -> None:
        _check_url(self.url)
        _check_texts((self.secret, *self.headers.values()))
        if wrong := next((name for name in self.headers if not HEADER.fullmatch(name)), None):
            raise InvalidArgument(f"alerts: '{wrong[:40]}' is no name of a header")


class Slack(Declaration, frozen=True, kw_only=True, tag="slack", tag_field="kind"):
    """An incoming webhook of Slack, or of what is compatible with it (Mattermost, Rocket.Chat, Discord's `/slack`)."""

    url: str

    def __post_init__(self) -> None:
        _check_url(self.url)


class Email(Declaration, frozen=True, kw_only=True, tag="email", tag_field="kind"):
    """Mail by SMTP. `tls` is `starttls`, `tls` (from the first byte) or `none`."""

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    sender: str
    to: tuple[str, ...]
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""

    where: ClassVar[str] = "alerts: "

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_texts((self.user, self.password))
        good = all("@" in each and all(ord(c) > 32 for c in each) for each in (self.sender, *self.to))
        checks = {
            "host must not be empty": bool(self.host),
            "sender and to must be addresses like ops@example.org, to at least one": bool(self.to) and good,
            "a password is not sent without tls": self.tls != "none" or not self.password,
        }
        require(self.where, checks)


class Alertmanager(Declaration, frozen=True, kw_only=True, tag="alertmanager", tag_field="kind"):
    """Prometheus' Alertmanager, API v2, at `url` (without `/api/v2/alerts`)."""

    url: str
    labels: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        _check_url(self.url)
        if wrong := next((name for name in self.labels if not _LABEL.fullmatch(name)), None):
            raise InvalidArgument(f"alerts: '{wrong[:40]}' is no name of a label: letters, digits and _")


Sink = Webhook | Slack | Email | Alertmanager


def check_set(sinks: Mapping[str, Sink], environ: Mapping[str, str]) -> None:
    """Raises InvalidArgument where a sink names a variable that is not set, or one whose text is no URL."""
    for name, sink in sinks.items():
        if isinstance(sink, Email):
            texts: tuple[str, ...] = (sink.user, sink.password)
        else:
            more = (sink.secret, *sink.headers.values()) if isinstance(sink, Webhook) else ()
            texts = (sink.url, *more)
        for text in texts:
            value = resolved(text, environ, f"alerts.{name}")
            if not isinstance(sink, Email) and text == sink.url and not value.startswith(("http://", "https://")):
                raise InvalidArgument(f"alerts.{name}: the variable {text[1:]} holds no URL: http:// or https://")


def shown(sink: Sink) -> dict[str, Any]:
    """A sink as it may be printed: without secrets, and of a URL, which often is one, the host alone. The names of
    variables are none."""
    found = cast("dict[str, Any]", msgspec.to_builtins(sink))
    for name in ("url", "secret", "password"):
        if found.get(name):
            found[name] = hidden(found[name])
    if "headers" in found:
        found["headers"] = {name: hidden(value) for name, value in found["headers"].items()}
    return found
