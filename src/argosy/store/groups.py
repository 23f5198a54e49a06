"""Groups of machines that are kept ready: where each stands, and what was done with each of its machines."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
from argosy.store.table import RowMapper, table_of


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """A group. `looked`: when it was weighed last (seconds since 1970); `on_demand`: how many machines shall be;
    `zones`: those of `state`, which is what the hedge remembers, in JSON; `held`: the launches that were counted on;
    `prices`: the cheapest spot offer of each zone, US dollars an hour. `risk`: the chance that fewer than wanted are
    ready at the next look."""

    name: str
    looked: float = 0.0
    on_demand: int = 0
    zones: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    prices: dict[str, float] = {}
    risk: float | None = None
    reason: str = ""
    state: str = ""


class GroupMachine(msgspec.Struct, frozen=True, kw_only=True):
    """What was done with the machine of a launch, in seconds since 1970: it has `joined`; it leaves since `left`, for
    the reason `why`. Joining has failed so many `tries`, last at `tried`."""

    launch: str
    joined: float | None = None
    left: float | None = None
    why: str = ""
    tries: int = 0
    tried: float = 0.0


groups_table = table_of(metadata, "machine_groups", GroupRow, key=("name",), name=63)
machines_table = table_of(metadata, "group_machines", GroupMachine, key=("launch",), launch=63)
GROUPS, MACHINES = RowMapper(groups_table, GroupRow), RowMapper(machines_table, GroupMachine)


def group(database: Database, name: str) -> GroupRow:
    """Where a group stands; at its beginning where nothing is known of it."""
    with database.read() as connection:
        return GROUPS.one(connection, groups_table.c.name == name) or GroupRow(name=name)


def names(database: Database) -> list[str]:
    """The groups that there ever were."""
    return [each.name for each in GROUPS.read(database, order=(groups_table.c.name,))]


def put(database: Database, row: GroupRow, events: Mapping[str, Mapping[str, Any]] = {}) -> None:
    """Write down where a group stands, and in the ledger what has happened to it."""
    with database.begin() as connection:
        GROUPS.put(connection, [row])
        for event, body in events.items():
            ledger.append(connection, f"group/{row.name}", event, body, Cause(reason=row.reason))


def machines(database: Database, launches: Collection[str]) -> dict[str, GroupMachine]:
    """What was done with the machines of these launches; of the others nothing was."""
    if not launches:
        return {}
    found = MACHINES.read(database, machines_table.c.launch.in_(launches), order=(machines_table.c.launch,))
    return {each.launch: each for each in found}


def note(database: Database, machine: GroupMachine) -> None:
    """Write down what was done with a machine."""
    with database.begin() as connection:
        MACHINES.put(connection, [machine])
