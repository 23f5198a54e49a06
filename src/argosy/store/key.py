"""An API key: what is kept of it, and how its text becomes a hash."""

import hashlib
import re

import msgspec

from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument

EVERYTHING = "*"
TEST = ":test"
MOST_SCOPES = 1000
"""Of a key: the gateway holds those of all keys, and reads them anew whenever one changes."""
"""What a scope ends with that also lets its holder pick a revision, where an endpoint has testers."""

_TEXT = re.compile(r"ak_(?P<id>[0-9a-f]{12})_[0-9a-f]{64}")


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored: `hash` is the sha256 of its whole text, in hexadecimal; the text itself is not kept.

    `scopes` are endpoint names, or "*" for all, with ":test" behind it for testers. `rate` is requests a second and
    `burst` how many may come at once; None leaves them to the gateway. `created` and `revoked` are UTC in ISO 8601.
    """

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    rate: float | None = None
    burst: int | None = None
    created: str
    revoked: str | None = None

    def covers(self, endpoint: str) -> bool:
        """Whether its scopes name the endpoint."""
        return any(scope.removesuffix(TEST) in (endpoint, EVERYTHING) for scope in self.scopes)

    def tests(self, endpoint: str) -> bool:
        """Whether its holder may pick a revision of the endpoint."""
        return bool({endpoint + TEST, EVERYTHING + TEST} & set(self.scopes))


def key_hash(text: str) -> str:
    """sha256 of the text of a key, as the gateway computes it from what a client sends."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key_id(text: str) -> str | None:
    """The id inside the text of a key; None for what is no key."""
    match = _TEXT.fullmatch(text)
    return match["id"] if match else None


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Raise InvalidArgument unless there are 1 to `MOST_SCOPES`, each "*" or an endpoint's name, ":test" behind it or
    not. Returns them sorted.
    """
    if not scopes:
        raise InvalidArgument("a key needs at least one scope: the name of an endpoint, or '*' for all")
    if len(scopes) > MOST_SCOPES:
        raise InvalidArgument(f"a key has at most {MOST_SCOPES} scopes, not {len(scopes)}: '*' covers all endpoints")
    for scope in scopes:
        if (name := scope.removesuffix(TEST)) != EVERYTHING:
            check_name(name, "scope")
    return tuple(sorted(set(scopes)))
