"""Where alerts go. A text that begins with `$` names a variable of the environment: secrets stay out of files."""

from collections.abc import Mapping

import msgspec

from argosy.spec.errors import InvalidArgument


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="webhook", tag_field="kind"):
    """A POST of JSON. With `secret`, `X-Argosy-Signature: sha256=…` is the HMAC-SHA256 of the body."""

    url: str
    headers: dict[str, str] = {}
    secret: str = ""


class Slack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="slack", tag_field="kind"):
    """An incoming webhook of Slack, or of what is compatible with it (Mattermost, Rocket.Chat, Discord's `/slack`)."""

    url: str


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


Sink = Webhook | Slack | Email | Alertmanager


def resolved(text: str, environ: Mapping[str, str]) -> str:
    """The text, or what the variable that it names holds. Raises InvalidArgument where there is none."""
    if not text.startswith("$"):
        return text
    if (value := environ.get(text[1:])) is None:
        raise InvalidArgument(f"alerts: the variable {text[1:]} is not set")
    return value
