"""Plans of what runs where: the one that regions were given, those that are proposed instead, and those before."""

import time

import msgspec
import sqlalchemy as sa

from argosy.spec.errors import Conflict, NotFound
from argosy.spec.placement import PlacementFile
from argosy.spec.plan import KeptPlan
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
from argosy.store.regions import place
from argosy.store.table import RowMapper, table_of

MOST = 50
"""Plans that are kept."""


class _Row(KeptPlan, frozen=True, kw_only=True):
    """As it is stored, with the file of which it was made, in JSON."""

    declared: str


plans_table = table_of(metadata, "plans", _Row, key=("number",), state=16)
P = plans_table.c
PLANS = RowMapper(plans_table, KeptPlan)


class Plans:
    """The plans of a platform. Every method may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self.database = database.create()

    def every(self) -> list[KeptPlan]:
        """The newest first."""
        return PLANS.read(self.database, order=(P.number.desc(),))

    def get(self, number: int) -> KeptPlan:
        """One plan. Raises NotFound."""
        with self.database.read() as connection:
            return _known(PLANS.one(connection, P.number == number), number)

    def open(self) -> tuple[KeptPlan | None, KeptPlan | None]:
        """The current plan and the proposed one."""
        found = {each.state: each for each in PLANS.read(self.database, P.state != "past", order=(P.number,))}
        return found.get("current"), found.get("proposed")

    def declared(self, number: int) -> PlacementFile:
        """The file of which a plan was made. Raises NotFound."""
        with self.database.read() as connection:
            found = connection.execute(sa.select(P.declared).where(P.number == number)).scalar()
        if found is None:
            raise _missing(number)
        return msgspec.json.decode(found, type=PlacementFile)

    def any(self) -> bool:
        return PLANS.any(self.database)

    def keep(self, declared: PlacementFile, plan: KeptPlan, cause: Cause, *, instead: int | None = None) -> KeptPlan:
        """Keep a new plan, whose number is chosen here: as the current one, whose numbers of replicas regions are given
        in the same transaction, or as the one that is proposed. `instead`: raises Conflict where another plan than this
        one is current."""
        with self.database.begin() as connection:
            current = connection.execute(sa.select(P.number).where(P.state == "current")).scalar()
            if instead is not None and instead != current:
                raise Conflict(f"plan {instead} is current no more")
            last = connection.execute(sa.select(sa.func.max(P.number))).scalar() or 0
            plan = msgspec.structs.replace(plan, number=last + 1, actor=cause.actor)
            if plan.state == "current":
                plan = msgspec.structs.replace(plan, applied=plan.made)
            _over(connection, plan)
            PLANS.add(connection, [plan], declared=msgspec.json.encode(declared).decode())
            connection.execute(sa.delete(plans_table).where(P.number <= plan.number - MOST, P.state == "past"))
            _noted(connection, plan, cause)
            return plan

    def apply(self, number: int, cause: Cause) -> KeptPlan:
        """Give regions what a plan says that is proposed. Raises NotFound, Conflict."""
        with self.database.begin() as connection:
            plan = _known(PLANS.one(connection, P.number == number), number)
            if plan.state != "proposed":
                raise Conflict(f"plan {number} is {plan.state}: only one that is proposed can be applied")
            plan = msgspec.structs.replace(plan, state="current", applied=time.time(), note="")
            _over(connection, plan)
            news = {"state": plan.state, "applied": plan.applied, "note": ""}
            connection.execute(sa.update(plans_table).where(P.number == number).values(news))
            _noted(connection, plan, cause)
            return plan

    def end(self, cause: Cause, *, proposed: bool = False) -> None:
        """Follow no plan any more; what regions were given stays. `proposed`: withdraw that one alone."""
        states = ("proposed",) if proposed else ("proposed", "current")
        with self.database.begin() as connection:
            gone = sa.update(plans_table).where(P.state.in_(states)).values(state="past").returning(P.number)
            for number in connection.execute(gone).scalars().all():
                ledger.append(connection, f"plan/{number}", "end", {}, cause)


def _over(connection: sa.Connection, plan: KeptPlan) -> None:
    """End the plans that another one replaces."""
    states = ("proposed", "current") if plan.state == "current" else ("proposed",)
    where = (P.state.in_(states), P.number != plan.number)
    connection.execute(sa.update(plans_table).where(*where).values(state="past"))


def _noted(connection: sa.Connection, plan: KeptPlan, cause: Cause) -> None:
    body = {"cost": plan.plan.cost, "bound": plan.plan.bound, "why": plan.why, "without": plan.without}
    event = "apply" if plan.state == "current" else "propose"
    ledger.append(connection, f"plan/{plan.number}", event, body, cause)
    for region, replicas in plan.numbers.items() if plan.state == "current" else ():
        place(connection, region, dict(replicas), cause)


def _known(plan: KeptPlan | None, number: int) -> KeptPlan:
    if plan is None:
        raise _missing(number)
    return plan


def _missing(number: int) -> NotFound:
    return NotFound(f"there is no plan {number}: argosy plans ls lists them")
