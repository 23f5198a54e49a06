"""Who may look: a browser's session, made from the token of the control API, and one-time tickets to begin one.

A session is a random name with an HMAC-SHA-256 under the token, so that it outlives a controller that is killed and
ends with the token, which `argosy down` takes away. The form token against forged requests is another HMAC of the name.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

DAYS = 7.0
TICKET_SECONDS = 60.0
MOST_TICKETS = 100


class Sessions:
    """Sessions under a token. `clock` gives seconds since 1970."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._clock = secret.encode(), clock
        self._tickets: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self.cookie = f"argosy-{self._mac('cookie', '')[:8]}"
        """Cookies know no ports: each home has a name of its own."""

    def begin(self) -> str:
        """A new session, as the cookie's value."""
        name = f"{secrets.token_urlsafe(18)}.{int(self._clock() + DAYS * 86400)}"
        return f"{name}.{self._mac('session', name)}"

    def valid(self, cookie: str) -> bool:
        """Whether the value is of a session of ours that has not expired."""
        name, _, mac = cookie.rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac("session", name).encode()):
            return False
        return self._clock() < int(name.rpartition(".")[2]) and cookie not in self._ended

    def end(self, cookie: str) -> None:
        """This session is over, wherever its cookie has got to. (A controller that starts anew has forgotten it.)"""
        now = self._clock()
        self._ended = {each: until for each, until in self._ended.items() if until > now}
        self._ended[cookie] = now + DAYS * 86400

    def form_token(self, cookie: str) -> str:
        """What every form of this session carries."""
        return self._mac("form", cookie)

    def check_form(self, cookie: str, given: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(given.encode(), self.form_token(cookie).encode())

    def ticket(self) -> str:
        """A ticket that begins one session within a minute."""
        now = self._clock()
        self._tickets = {each: until for each, until in self._tickets.items() if until > now}
        while len(self._tickets) >= MOST_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        fresh = secrets.token_urlsafe(24)
        self._tickets[fresh] = now + TICKET_SECONDS
        return fresh

    def redeem(self, ticket: str) -> bool:
        """Whether the ticket is good; it is not a second time."""
        until = self._tickets.pop(ticket, 0.0)
        return self._clock() < until

    def _mac(self, use: str, text: str) -> str:
        return hmac.new(self._secret, f"console {use} {text}".encode(), hashlib.sha256).hexdigest()
