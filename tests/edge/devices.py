"""A device for tests: a key, and what it says to the platform."""

from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.testclient import TestClient

from argosy.edge import statement, wire
from argosy.store.fleets import Fleet
from argosy.store.ledger import Cause
from argosy.store.store import Store

FACTS = wire.Facts(machine="x86_64", agent="0.1.0", python="3.13.1", onnxruntime="1.24.0")
NOW = 1_800_000_000.0
S = TypeVar("S")


class Clock:
    """A platform's, set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class SimulatedDevice:
    """Says what a device says. `copy` has the same key and ratchet, as a copied disk has."""

    def __init__(self, client: TestClient, name: str | None = None, fleet: str = "cars") -> None:
        self.client, self.name, self.fleet = client, name, fleet
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id, self.ratchet, self.token, self.number = name or "", "", "", 0

    def copy(self) -> "SimulatedDevice":
        other = SimulatedDevice(self.client, self.name, self.fleet)
        other.key, other.id, other.ratchet, other.number = self.key, self.id, self.ratchet, self.number
        return other

    @property
    def headers(self) -> dict[bytes, bytes]:
        return {wire.SESSION.encode(): self.token.encode("latin-1")}

    def post(self, path: str, body: object) -> Any:
        """The answer, whatever it says."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.client.post(wire.PREFIX + path, content=data, headers=self.headers)

    def get(self, path: str) -> Any:
        return self.client.get(wire.PREFIX + path, headers=self.headers)

    def nonce(self) -> str:
        return read(self.post("/challenge", wire.ChallengeRequest()), wire.Challenge).nonce

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def enrolment(self, token: str = "", **others: Any) -> wire.Enrolment:
        nonce = self.nonce()
        found = wire.Enrolment(
            fleet=self.fleet,
            public_key=statement.pem(self.key.public_key()),
            nonce=nonce,
            proof=self.sign(statement.enrolment_data(nonce, self.fleet)),
            token=token,
            name=self.name,
            facts=FACTS,
        )
        return msgspec.structs.replace(found, **others)

    def enrol(self, token: str) -> "SimulatedDevice":
        self.id = read(self.post("/enrol", self.enrolment(token)), wire.Enrolled).device
        return self

    def ask_session(self, **others: Any) -> Any:
        nonce = self.nonce()
        proof = self.sign(statement.session_data(nonce, self.id, self.ratchet))
        asked = wire.SessionRequest(device=self.id, nonce=nonce, ratchet=self.ratchet, proof=proof, facts=FACTS)
        return self.post("/session", msgspec.structs.replace(asked, **others))

    def begin(self) -> "SimulatedDevice":
        """A session, used or not."""
        found = read(self.ask_session(), wire.DeviceSession)
        self.token, self.ratchet = found.token, found.ratchet
        return self

    def desired(self, query: str = "") -> wire.Desired:
        return read(self.get(f"/desired{query}"), wire.Desired)

    def report(self, **said: Any) -> Any:
        self.number += 1
        return self.post("/report", wire.AgentReport(**({"number": self.number, "boot": 1, "phase": "idle"} | said)))


def read(answer: Any, kind: type[S]) -> S:
    """What was answered."""
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=kind)


def fleet_of(store: Store, **more: Any) -> str:
    """A fleet `cars`, and a token for a hundred devices."""
    store.fleets.create(Fleet(name="cars", created=NOW, **more), Cause())
    return token_of(store)


def token_of(store: Store, uses: int = 100) -> str:
    return store.fleets.devices.make_token("cars", uses=uses, now=NOW, seconds=60, labels={}, cause=Cause())


def served(routes: Any) -> TestClient:
    return TestClient(Starlette(routes=routes))
