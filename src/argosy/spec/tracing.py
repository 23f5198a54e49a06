"""Traces: where the gateway and the replicas send their spans, and of how many requests."""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from msgspec import field

from argosy.spec.errors import InvalidArgument
from argosy.spec.secret import HEADER, resolved
from argosy.spec.strict import Declaration, Share


class Tracing(Declaration, frozen=True, kw_only=True):
    """Where traces go: `url` of a collector that takes OTLP over HTTP, as in `http://127.0.0.1:4318` (without a path,
    `/v1/traces` is meant). Empty: nobody traces.

    `share` of the requests without a `traceparent` begin a trace; with `callers`, one that comes with it goes on with
    its caller's, sampled or not as that says. Of `headers`, sent with every export, a value that begins with `$` names
    a variable of the environment.
    """

    url: str = ""
    share: Share = 0.01
    callers: bool = True
    headers: dict[str, str] = field(default_factory=dict[str, str])

    where: ClassVar[str] = "tracing."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.url:
            _check_collector(self.url)
        for name, value in self.headers.items():
            _check_header(name, value)

    @property
    def target(self) -> str:
        """The URL that spans are sent to."""
        parts = urlsplit(self.url)
        return parts._replace(path="/v1/traces").geturl() if parts.path in ("", "/") else self.url

    @property
    def shown(self) -> dict[str, str]:
        """The headers as they may be printed: the names of variables are no secrets."""
        return {name: value if value.startswith("$") else "***" for name, value in self.headers.items()}

    @property
    def variables(self) -> list[str]:
        """The variables that the headers name."""
        return [value[1:] for value in self.headers.values() if value.startswith("$")]

    def secrets(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The headers, with what their variables hold. Raises InvalidArgument where one is not set."""
        found = {name: resolved(value, environ, f"tracing.headers.{name}") for name, value in self.headers.items()}
        for name, value in found.items():
            _check_header(name, value)
        return found


def _check_header(name: str, value: str) -> None:
    if not HEADER.fullmatch(name) or not value.isprintable() or not value.isascii():
        raise InvalidArgument(f"tracing.headers: '{name[:80]}' and its value must be those of an HTTP header")


def _check_collector(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or any(each.isspace() for each in url) or "@" in url or "#" in url:
        raise InvalidArgument(f"tracing.url must be as in http://127.0.0.1:4318 or https://host/path, not '{url[:80]}'")
