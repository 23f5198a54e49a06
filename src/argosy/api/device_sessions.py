"""How a device shows who it is: challenges, proofs, and the tokens of sessions. Nothing here waits.

A challenge and a token say what they are and are signed by this platform, so that neither is stored: whoever asks for
challenges for ever fills nothing. A challenge is good once, for a minute, and in the process that gave it.
"""

import base64
import binascii
import hmac
import secrets
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cryptography import x509

from argosy.alerting.incident import Finding
from argosy.edge import statement, wire
from argosy.spec.errors import RateLimited, Unauthenticated
from argosy.spec.foreign import printable
from argosy.store.devices import D, Devices

MINUTE = 60.0
SECONDS = 3600.0
"""How long a session is good for."""
MAC = 16
CHALLENGES, BURST = 500.0, 5000.0
"""Challenges a second, of all devices together, and how many may be asked for at once."""


Tell = Callable[[str, str, Iterable[Finding]], None]
"""Takes all that a source finds wrong with an endpoint: `Incidents.report`."""


class Bearer(NamedTuple):
    """Whose a token is: a device, and which of its sessions."""

    device: str
    session: int


class Challenges:
    """Nonces: when they were made, and a signature."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._used: dict[str, float] = {}
        self._room, self._at = BURST, 0.0

    def make(self, now: float) -> str:
        """A nonce. Raises RateLimited where too many are asked for."""
        self._room = min(BURST, self._room + max(0.0, now - self._at) * CHALLENGES)
        self._at = now
        if self._room < 1:
            raise RateLimited(
                "too many devices come at once: try again", retry_after=1 + 4 * secrets.randbelow(100) / 100
            )
        self._room -= 1
        body = struct.pack(">d", now) + secrets.token_bytes(16)
        return base64.urlsafe_b64encode(body + self._mac(body)).decode()

    def check(self, nonce: str, now: float) -> None:
        """Raises Unauthenticated unless it was made here, in the last minute, and was not used."""
        try:
            raw = base64.b64decode(nonce, b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        body, mac = raw[:24], raw[24:]
        good = len(body) == 24 and hmac.compare_digest(mac, self._mac(body))
        if not good or not 0 <= now - struct.unpack(">d", body[:8])[0] <= MINUTE or nonce in self._used:
            raise Unauthenticated("the challenge is not one of this platform, is too old, or was used: ask for another")

    def use(self, nonce: str, now: float) -> None:
        """It is good no more. Only for those whose proof was right, so that what is kept is bounded by real devices."""
        if len(self._used) > BURST:
            self._used = {each: at for each, at in self._used.items() if now - at <= MINUTE}
        self._used[nonce] = now

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, "sha256")[:MAC]


class Tokens:
    """The tokens of sessions: device, session and end, signed with `secret`."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, bearer: Bearer, ends: float) -> str:
        said = f"{bearer.device}:{bearer.session}:{ends:.0f}"
        return f"{said}:{self._mac(said)}"

    def read(self, token: str, now: float) -> Bearer:
        """Whose it is. Raises Unauthenticated for one that is not good any more, or never was."""
        said, _, mac = token.rpartition(":")
        parts = said.split(":")
        good = token.isascii() and len(parts) == 3 and hmac.compare_digest(mac, self._mac(said))
        if not good or float(parts[2]) <= now:
            raise Unauthenticated(f"this needs the token of a session that goes on, in the header {wire.SESSION}")
        return Bearer(parts[0], int(parts[1]))

    def _mac(self, said: str) -> str:
        return hmac.digest(self._secret, said.encode(), "sha256")[:MAC].hex()


def check_enrolment(asked: wire.Enrolment, owner: str) -> str:
    """The device's key as we write it, in PEM. Raises Unauthenticated unless the device has the key, and, where it
    shows a certificate, that is one of the fleet's `owner` (PEM of an authority) and good now."""
    try:
        key = statement.public_key(asked.public_key)
    except statement.BadStatement as error:
        raise Unauthenticated(f"public_key: {error}") from None
    if not statement.signed_by(key, asked.proof, statement.enrolment_data(asked.nonce, asked.fleet)):
        raise Unauthenticated("the proof is not that of the device's key over this challenge and this fleet")
    if asked.chain and not asked.token:
        if not owner:
            raise Unauthenticated(f"fleet '{asked.fleet}' has no owner whose certificates count: give a token")
        try:
            chain = x509.load_pem_x509_certificates(asked.chain.encode())
            certified = statement.chain_key(chain, x509.load_pem_x509_certificates(owner.encode()))
        except statement.BROKEN as error:
            reason = printable(str(error), "?")[:300]
            raise Unauthenticated(f"the certificate does not count in fleet '{asked.fleet}': {reason}") from None
        if statement.key_name(certified) != statement.key_name(key):
            raise Unauthenticated("the certificate is not one of the device's key")
    elif not asked.token:
        raise Unauthenticated("a new device needs a token, or a certificate of the fleet's owner")
    return statement.pem(key)


def check_session(asked: wire.SessionRequest, public_key: str) -> None:
    """Raises Unauthenticated unless the device has its key."""
    key = statement.public_key(public_key)
    if not statement.signed_by(key, asked.proof, statement.session_data(asked.nonce, asked.device, asked.ratchet)):
        raise Unauthenticated(f"the proof is not that of device '{asked.device}'")


def tell_suspended(tell: Tell, devices: Devices, fleet: str) -> None:
    """Report an incident for each device of a fleet that is suspended, until it is revoked. It waits for the
    database."""
    name = f"fleet.{fleet}"
    found = [
        Finding(
            endpoint=name,
            kind="device",
            subject=each.id,
            severity="page",
            title=f"device {each.id} is suspended",
            reason=f"{each.why}. Find both, then: argosy fleet revoke {fleet} {each.id}",
        )
        for each in devices.of_fleet(fleet, D.state == "suspended", most=50)
    ]
    tell("device identities", name, found)
