"""What is declared and what serves, in the database."""

from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import NotFound
from argosy.spec.revision import Revision
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.table import Json

RolloutPhase = Literal["starting", "shadowing", "shifting", "warm", "done", "rolled-back", "aborted", "superseded"]
Order = Literal["", "promote", "abort"]

LIVE = ("starting", "shadowing", "shifting", "warm")
WENT_BACK = ("rolled-back", "aborted")

endpoints_table = sa.Table(
    "endpoints",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("spec", Json(Endpoint), nullable=False),
    sa.Column("revision", sa.String(16), nullable=False),
    sa.Column("active", sa.String(16), nullable=True),
    sa.Column("held", sa.Integer, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("created", sa.String(32), nullable=False),
    sa.Column("updated", sa.String(32), nullable=False),
)
revisions_table = sa.Table(
    "revisions",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("body", Json(Revision), nullable=False),
    sa.Column("created", sa.String(32), nullable=False),
)
E = endpoints_table.c
SERVED = ("serve", "delete")
"""The events of the ledger after which something else serves."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout of an endpoint, the `number`-th, from `stable` to `candidate`, for one generation of its declaration.

    `starting`: the candidate is not ready; `shadowing`: it gets copies of requests; `shifting`: both have traffic;
    `warm`: the candidate has all of it and the stable one could take it back; the others are ends. `held` replicas stay
    with the stable revision. `spent` seconds and `served` requests of the candidate since the phase or step began,
    `exposed` since the rollout began; `looked` is the time of the last analysis (seconds since 1970). `replaced`:
    replicas of candidate and stable that had to be replaced since it began, `counted` their counters at that time.
    `reason` says why it ended or what it waits for.
    """

    number: int
    candidate: str
    stable: str
    held: int
    generation: int = 0
    phase: RolloutPhase = "starting"
    step: int = 0
    weight: int = 0
    spent: float = 0.0
    served: int = 0
    exposed: int = 0
    looked: float = 0.0
    replaced: tuple[int, int] = (0, 0)
    counted: tuple[int, int] = (0, 0)
    paused: bool = False
    order: Order = ""
    reason: str = ""

    @property
    def live(self) -> bool:
        return self.phase in LIVE


rollouts_table = sa.Table(
    "rollouts",
    metadata,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("changes", sa.Integer, nullable=False),
    sa.Column("progress", Json(Progress), nullable=False),
    sa.Column("evidence", sa.Text, nullable=True),
    sa.Column("began", sa.String(32), nullable=False),
    sa.Column("ended", sa.String(32), nullable=True),
)


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered, durably: the revision that has the traffic (of a rollout, the one that had it before), how
    many replicas it keeps until replaced, and the last rollout."""

    active: str | None = None
    held: int = 0
    rollout: Progress | None = None


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as it was declared last, the revision that means, and what serves. `generation` counts changes."""

    endpoint: Endpoint
    revision: str
    serving: Serving
    generation: int
    created: str
    updated: str


class Endpoints:
    def __init__(self, database: Database) -> None:
        self.database = database.create()

    def endpoint(self, name: str) -> Declared | None:
        with self.database.read() as connection:
            row = connection.execute(row_of(name)).one_or_none()
            return declared(row) if row else None

    def served(self, name: str) -> tuple[Declared, Revision]:
        """An endpoint with the revision that serves, or is to serve. Raises NotFound."""
        found = self.endpoint(name)
        if found is None:
            raise NotFound(f"there is no endpoint '{name[:63]}': argosy ps lists them")
        return found, self.revisions()[found.serving.active or found.revision]

    def creator(self, name: str) -> str:
        """Who declared an endpoint first, since it was deleted last; empty where there is none."""
        with self.database.read() as connection:
            return ledger.first_actor(connection, name, "declare", after="delete")

    def endpoints(self) -> list[Declared]:
        """Every declaration, by name."""
        with self.database.read() as connection:
            return [declared(row) for row in connection.execute(sa.select(endpoints_table).order_by(E.name))]

    def names(self) -> set[str]:
        with self.database.read() as connection:
            return set(connection.execute(sa.select(E.name)).scalars())

    def revisions(self) -> dict[str, Revision]:
        """Every revision of a declared endpoint, by id."""
        with self.database.read() as connection:
            return {each.id: each for each in connection.execute(sa.select(revisions_table.c.body)).scalars()}


def row_of(name: str) -> sa.Select[Any]:
    return sa.select(endpoints_table).where(E.name == name)


def declared(row: sa.Row[Any]) -> Declared:
    return Declared(
        endpoint=row.spec,
        revision=row.revision,
        serving=Serving(active=row.active, held=row.held),
        generation=row.generation,
        created=row.created,
        updated=row.updated,
    )
