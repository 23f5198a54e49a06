"""Where a server is: the base of its URLs, or a Unix socket; and the model its URL may already name. Where there are
several, which is asked first."""

import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote, urlsplit

import msgspec

from argosy.spec.errors import InvalidArgument

_ROUTE = re.compile(
    r"(?P<base>.*?)/v2(?:/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/infer|/ready)?)?/?"
)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """`base` has no trailing slash and no `/v2`. With `socket`, `base` is only the name put in the Host header."""

    base: str
    socket: str = ""
    model: str = ""
    version: str = ""

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine, so that no proxy can be in between."""
        host = urlsplit(self.base).hostname or ""
        return bool(self.socket) or host in ("localhost", "::1") or host.startswith("127.")


def parse(url: str) -> Address:
    """An address from what people paste: a base, `host:port`, `…/v2/models/NAME/infer`, or `unix:/path/of.sock`.

    Raises InvalidArgument.
    """
    if url.startswith("unix:"):
        return Address(base="http://localhost", socket="/" + url.removeprefix("unix:").lstrip("/"))
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidArgument(f"'{url}' is no URL: use http://HOST:PORT, https://HOST, or unix:/path/of.sock")
    found = _ROUTE.fullmatch(full.partition("?")[0])
    if found is None:
        return Address(base=full.rstrip("/"))
    return Address(base=found["base"], model=unquote(found["model"] or ""), version=unquote(found["version"] or ""))


def parse_all(urls: str | Sequence[str]) -> list[Address]:
    """One address or several, which name the same model or none. Raises InvalidArgument."""
    found = [parse(url) for url in ([urls] if isinstance(urls, str) else urls)]
    if not found:
        raise InvalidArgument("name at least one URL")
    if len({(each.model, each.version) for each in found}) > 1:
        raise InvalidArgument(f"the URLs of one client name the same model, or none: {', '.join(urls)}")
    return found


AWAY_SECONDS = 30.0
"""How long an address that did not answer is asked after the others."""


class Turns:
    """In which order addresses are asked: as they were given, those that did not answer last. After `AWAY_SECONDS` one
    request asks such an address in its place again, and the others do once it has answered."""

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._until, self._clock = [0.0] * count, clock

    def order(self) -> list[int]:
        """For the next request."""
        now = self._clock()
        late = [until > now for until in self._until]
        self._until = [now + AWAY_SECONDS if 0 < until <= now else until for until in self._until]
        return sorted(range(len(late)), key=late.__getitem__)

    def gone(self, at: int) -> None:
        """It did not answer."""
        self._until[at] = self._clock() + AWAY_SECONDS

    def well(self, at: int) -> None:
        """It answered, whatever it said."""
        self._until[at] = 0.0


def model_path(model: str, version: str | None, action: str = "") -> str:
    """`/v2/models/{model}[/versions/{version}][/action]`."""
    path = f"/v2/models/{quote(model, safe='')}"
    if version:
        path += f"/versions/{quote(str(version), safe='')}"
    return f"{path}/{action}" if action else path
