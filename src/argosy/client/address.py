"""Where a server is: the base of its URLs, or a Unix socket; and the model its URL may already name."""

import re
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


def model_path(model: str, version: str | None, action: str = "") -> str:
    """`/v2/models/{model}[/versions/{version}][/action]`."""
    path = f"/v2/models/{quote(model, safe='')}"
    if version:
        path += f"/versions/{quote(str(version), safe='')}"
    return f"{path}/{action}" if action else path
