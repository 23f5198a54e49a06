"""What a device asks of its platform: a session, and everything that needs one.

Each thread has a connection of its own that stays open; the session is shared.
"""

import http.client
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from argosy_edge import errors, statement
from argosy_edge.connection import SECONDS, WHOLE, Connection, NoTime, Times, exchange
from argosy_edge.errors import Conflict, PermissionDenied
from argosy_edge.identity import Identity, Platform, facts
from argosy_edge.wire import (
    SESSION,
    AgentReport,
    Challenge,
    ChallengeRequest,
    Desired,
    DeviceSession,
    Enrolled,
    Enrolment,
    Received,
    SessionRequest,
    TransferPlan,
    WireError,
)

EARLY = 60.0
"""Seconds before its end in which a session is begun anew."""
REFUSED = 3600.0
"""Seconds in which a device that was revoked does not ask again."""
S = TypeVar("S")


class Link:
    """What a device asks of its platform. Threads may share it. Raises AgentError, OSError, WireError."""

    def __init__(self, identity: Identity, times: Times | None = None) -> None:
        self.platform = identity.platform
        self.labels: dict[str, str] = {}
        """Those that the platform gave with the last session."""
        self._identity, self._times = identity, times or NoTime()
        self.device = self._enrolled().device
        self._lock, self._threads = threading.Lock(), threading.local()
        self._token, self._ends = "", 0.0
        self._refused: tuple[str, float] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Those that sign updates, as the last session has them."""
        return self._enrolled().keys

    def _enrolled(self) -> Enrolled:
        if (found := self._identity.enrolled) is None:
            raise errors.NotFound(f"{self._identity.folder} holds no device: run  argosy-edge enrol")
        return found

    def desired(self, after: str, wait: float) -> Desired:
        """What to run, once it is not `after` any more, or after so many seconds."""
        query = urlencode({"after": after, "wait": f"{wait:.0f}"})
        return self._ask("GET", f"desired?{query}", Desired, seconds=wait + SECONDS)

    def plan(self, package: str, have: Sequence[str] = ()) -> TransferPlan:
        """How to get a package, from those that are here."""
        return self._ask("GET", f"plan?{urlencode({'package': package, 'have': ','.join(have)})}", TransferPlan)

    def report(self, report: AgentReport) -> Received:
        return self._ask("POST", "report", Received, msgspec.json.encode(report))

    def get(self, path: str, start: int, end: int) -> http.client.HTTPResponse:
        """The bytes of a blob from `start` to before `end`, as they come: whoever reads them bounds them."""
        headers = {"range": f"bytes={start}-{end - 1}"}
        for attempt in (1, 2):
            token = self._session()
            try:
                answer = self._connection().send("GET", quote(path), headers={**headers, SESSION: token})
            except http.client.HTTPException as error:
                raise ConnectionError(f"the platform's answer broke off: {error!r}") from None
            if answer.status != 401 or attempt == 2:
                return answer
            self._over(token)
        raise AssertionError

    def _ask(self, method: str, path: str, kind: type[S], body: bytes = b"", seconds: float = SECONDS) -> S:
        """Ask in a session; in another one where that is over."""
        token = self._session()
        try:
            return self._exchange(method, path, kind, body, token, seconds)
        except errors.Unauthenticated:
            self._over(token)
        return self._exchange(method, path, kind, body, self._session(), seconds)

    def _exchange(
        self, method: str, path: str, kind: type[S], body: bytes = b"", token: str = "", seconds: float = SECONDS
    ) -> S:
        try:
            return exchange(self._connection(), method, path, kind, body, {SESSION: token} if token else {}, seconds)
        except PermissionDenied as error:
            self._refused = error.message, time.monotonic() + REFUSED
            raise

    def _connection(self) -> Connection:
        found: Connection | None = getattr(self._threads, "connection", None)
        if found is None:
            found = self._threads.connection = Connection(self.platform, self._times)
        return found

    def _over(self, token: str) -> None:
        with self._lock:
            if self._token == token:
                self._token = ""

    def _session(self) -> str:
        """The token of a session that goes on. Its ratchet is on the disk before the token is used."""
        with self._lock:
            if self._refused is not None and time.monotonic() < self._refused[1]:
                raise PermissionDenied(f"the platform refuses this device: {self._refused[0]}")
            if self._token and time.monotonic() < self._ends:
                return self._token
            asked = self._exchange("POST", "challenge", Challenge, msgspec.json.encode(ChallengeRequest()))
            ratchet = self._identity.ratchet
            request = SessionRequest(
                device=self.device,
                nonce=asked.nonce,
                ratchet=ratchet,
                proof=self._identity.sign(statement.session_data(asked.nonce, self.device, ratchet)),
                facts=facts(self._identity.folder),
                number=self._enrolled().number,
            )
            found = self._exchange("POST", "session", DeviceSession, msgspec.json.encode(request))
            self._identity.believe(found.keys)
            self._identity.ratchet = found.ratchet
            self._times.sync(found.now)
            self._token, self.labels = found.token, found.labels
            self._ends = time.monotonic() + max(EARLY, found.seconds - EARLY)
            return self._token


def enrol(
    identity: Identity,
    platform: Platform,
    fleet: str,
    *,
    token: str = "",
    chain: str = "",
    name: str | None = None,
    labels: Mapping[str, str] = {},
) -> Enrolled:
    """Become a device of a fleet, by a token or by the owner's certificates of the key. The key is on the disk before
    the platform hears of it: where the answer is lost, the same again gives the same device.

    Raises AgentError, OSError, WireError."""
    if (there := identity.enrolled) is not None:
        raise Conflict(
            f"{identity.folder} is device '{there.device}' of fleet '{there.fleet}' already: give another --home"
        )
    connection = Connection(platform, NoTime())
    try:
        asked = exchange(connection, "POST", "challenge", Challenge, msgspec.json.encode(ChallengeRequest()))
        request = Enrolment(
            fleet=fleet,
            public_key=identity.public_key,
            nonce=asked.nonce,
            proof=identity.sign(statement.enrolment_data(asked.nonce, fleet)),
            token=token,
            chain=chain,
            name=name,
            labels=dict(labels),
            facts=facts(identity.folder),
        )
        found = exchange(connection, "POST", "enrol", Enrolled, msgspec.json.encode(request), seconds=WHOLE)
    except errors.Unauthenticated as error:
        raise PermissionDenied(error.message) from None
    finally:
        connection.close()
    if found.fleet != fleet or not found.keys:
        raise WireError("the platform answers for another fleet, or names no key for updates")
    identity.keep(found, platform)
    return found
