"""What an endpoint may say about its traffic beyond weights: a mirror, sticky callers, a waiting room."""

import re
from typing import Literal

import msgspec

from argosy.gateway.names import check_address, check_token
from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument

RESERVED = ("x-argosy-", "argosy-", "x-envoy-", "authorization", "x-api-key", "cookie", "host", "content-")
_HEADER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COOKIE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Mirror(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A copy of `percent` of the requests that are routed by weight goes to a shadow revision; its answers are dropped.

    The copy has the request's `x-request-id` and `x-argosy-shadow: 1`; both have `x-argosy-record: 1`, so that their
    answers can be compared. Streams are not copied. Without a weight, the shadow revision answers nobody but testers.
    """

    revision: str
    percent: float = 100.0

    def __post_init__(self) -> None:
        check_token(self.revision, "mirror: revision id")
        if not 0.0001 <= self.percent <= 100:
            raise InvalidArgument(f"mirror: percent must be 0.0001 to 100, not {self.percent:g}")


class Sticky(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which revision a caller gets is decided once, by a header's value, the key's id or a cookie.

    A caller keeps a revision as long as no other revision's share grows. `name` is the header's or the cookie's; the
    cookie is given to a caller that has none and lives `seconds`. Without the header each request is decided anew.
    """

    by: Literal["header", "key", "cookie"]
    name: str = ""
    seconds: int = 30 * 86400

    def __post_init__(self) -> None:
        if self.by == "key" and self.name:
            raise InvalidArgument("sticky: by key takes no name")
        if self.by == "header" and (not _HEADER.fullmatch(self.name) or self.name.startswith(RESERVED)):
            raise InvalidArgument(f"sticky: '{self.name}' cannot be the header; use a lower-case name of your own")
        if self.by == "cookie" and not _COOKIE.fullmatch(self.cookie):
            raise InvalidArgument(f"sticky: '{self.name}' cannot be a cookie's name: use letters, digits, '_' and '-'")
        if self.seconds < 1:
            raise InvalidArgument("sticky: seconds must be at least 1")

    @property
    def cookie(self) -> str:
        """The cookie's name."""
        return self.name or "argosy-caller"


class Waiting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who takes an endpoint's requests while no replica is ready: addresses of a process that holds them and answers.

    It is told `argosy-endpoint`, may take `seconds` on top of the endpoint's timeout, and is asked again when it goes
    away before it has answered.
    """

    http: Address
    grpc: Address | None = None
    seconds: float = 300.0

    def __post_init__(self) -> None:
        for address in filter(None, (self.http, self.grpc)):
            check_address(address, "the waiting room")
        if self.seconds <= 0:
            raise InvalidArgument("waiting: seconds must be above 0")
