"""Answers to the challenge of a registry: Basic, or Bearer with tokens that are asked for and asked for again.

Source: the token authentication of distribution. A token without `expires_in` is good for 60 seconds.
"""

import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import httpx
import msgspec

from argosy.spec.errors import Unauthenticated, Unavailable
from argosy.store.oci.credentials import Credential
from argosy.store.oci.reference import is_loopback

MAX_ANSWER = 1024 * 1024
LIFE, MARGIN = 60.0, 5.0
"""Seconds that a token is good for where nothing is said, and before its end when it is replaced."""
CLIENT_ID = "argosy"
_SCHEME = re.compile(r"(?:^|,\s*)(Basic|Bearer)\s+", re.IGNORECASE)
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')

Fetch = Callable[[httpx.Request], tuple[int, bytes]]


class Token(msgspec.Struct, frozen=True):
    """What a token service answers."""

    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


class Challenge(msgspec.Struct, frozen=True):
    """What a registry asks for: "basic" or "bearer"; for the latter, of whom, and in whose name."""

    scheme: str
    realm: str = ""
    service: str = ""


def challenge_of(headers: Sequence[str]) -> Challenge | None:
    """The challenge of an answer with status 401; Bearer rather than Basic. None where it is neither."""
    found: dict[str, Challenge] = {}
    for header in headers:
        marks = list(_SCHEME.finditer(header))
        ends = [mark.start() for mark in marks[1:]] + [len(header)]
        for mark, end in zip(marks, ends, strict=False):
            given = dict(_PARAMETER.findall(header[mark.end() : end]))
            scheme = mark[1].lower()
            found[scheme] = Challenge(scheme, given.get("realm", ""), given.get("service", ""))
    return found.get("bearer") or found.get("basic")


class Tokens:
    """The header Authorization for requests to one registry. `fetch` sends a request to a token service."""

    def __init__(self, host: str, credential: Credential | None, fetch: Fetch, *, plain: bool) -> None:
        self.host, self.credential = host, credential
        self.challenge: Challenge | None = None
        self._fetch, self._plain = fetch, plain
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def header(self, scopes: tuple[str, ...]) -> dict[str, str]:
        """Nothing before the first challenge; then what it asks for. Raises Unauthenticated, Unavailable."""
        if self.challenge is None:
            return {}
        if self.challenge.scheme == "basic":
            if self.credential is None:
                raise Unauthenticated(f"{self.host} wants a login: run  argosy registry login {self.host}")
            return {"Authorization": self.credential.basic}
        token, until = self._tokens.get(scopes, ("", 0.0))
        if time.monotonic() >= until:
            token, life = self._ask(self.challenge, scopes)
            self._tokens[scopes] = token, time.monotonic() + max(life - MARGIN, life / 2)
        return {"Authorization": f"Bearer {token}"}

    def challenged(self, challenge: Challenge, scopes: tuple[str, ...]) -> None:
        """A registry asked for a login, or took a token for no longer good."""
        self.challenge = challenge
        self._tokens.pop(scopes, None)

    def _ask(self, challenge: Challenge, scopes: tuple[str, ...]) -> tuple[str, float]:
        url = self._realm(challenge)
        pairs = [("service", challenge.service)] if challenge.service else []
        pairs += [("scope", scope) for scope in scopes]
        credential = self.credential
        if credential and not credential.user:
            form = [("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("refresh_token", credential.secret)]
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            request = httpx.Request("POST", url, content=urlencode([*form, *pairs]).encode(), headers=kind)
        else:
            headers = {"Authorization": credential.basic} if credential else {}
            asked = f"{url}{'&' if url.query else '?'}{urlencode(pairs)}" if pairs else url
            request = httpx.Request("GET", asked, headers=headers)
        status, data = self._fetch(request)
        if status in (400, 401, 403):
            who = f"the login of {credential.user or 'its token'}" if credential else "a visitor without a login"
            raise Unauthenticated(f"{self.host} refuses {who}: run  argosy registry login {self.host}")
        try:
            found = msgspec.json.decode(data, type=Token) if status == 200 else Token()
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = Token()
        token = found.token or found.access_token
        if not token.isascii() or not token.isprintable() or not token:
            raise Unavailable(
                f"the token service of {self.host}, {url.host}, answered {status} and no token: try later"
            )
        return token, found.expires_in if found.expires_in and found.expires_in > 0 else LIFE

    def _realm(self, challenge: Challenge) -> httpx.URL:
        """Where tokens are given. A login goes to no plain-text place that a registry behind TLS names."""
        try:
            url = httpx.URL(challenge.realm)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise Unavailable(f"{self.host} names no token service that can be asked: '{challenge.realm[:80]}'")
        if url.scheme == "http" and not self._plain and not is_loopback(url.netloc.decode("ascii")):
            raise Unauthenticated(f"{self.host} wants the login sent to {url.host} in plain text: that is not done")
        return url
