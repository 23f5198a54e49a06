"""Moves the states of monitors from where earlier versions kept them into the table `monitor_state`."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
import sqlalchemy as sa

from argosy.alerting.triggers import policy
from argosy.monitoring.drift import monitor as drift
from argosy.monitoring.performance import monitor as performance
from argosy.monitoring.slo import monitor as slo
from argosy.spec.settings import Home
from argosy.store.database import Database
from argosy.store.monitor_state import MonitorState

LOG = logging.getLogger(__name__)
S = TypeVar("S", bound=msgspec.Struct)


def move_states(home: Home, database: Database) -> None:
    """Move what lies in `HOME/drift`, `HOME/quality` and the tables `slos` and `trigger_states`, all or nothing.

    Run by the platform that leads, before its monitors start. A state that is in the new table stays; one that cannot
    be read is left out, with a warning: its monitor begins anew. Raises Unavailable, StorageFull, Conflict.
    """
    looks = sorted((home.root / "drift").glob("*.look"))
    kept = sorted((home.root / "quality").glob("*/*.kept"))
    with database.read() as connection:
        tables = {"slos", "trigger_states"} & set(sa.inspect(connection).get_table_names())
    if not (looks or kept or tables):
        return
    with database.begin() as connection:
        for path in looks:
            _move(connection, drift.STATES, path.stem, "", path.read_bytes(), msgspec.msgpack.decode)
        for path in kept:
            endpoint, version = unquote(path.parent.name), unquote(path.stem)
            _move(connection, performance.STATES, endpoint, version, path.read_bytes(), msgspec.msgpack.decode)
        if "slos" in tables:
            for endpoint, body in connection.execute(sa.text("SELECT endpoint, course FROM slos")).all():
                _move(connection, slo.STATES, endpoint, "", body, msgspec.json.decode)
            connection.execute(sa.text("DROP TABLE slos"))
        if "trigger_states" in tables:
            rows = connection.execute(sa.text('SELECT endpoint, "trigger", state FROM trigger_states')).all()
            for endpoint, trigger, body in rows:
                _move(connection, policy.STATES, endpoint, trigger, body, msgspec.json.decode)
            connection.execute(sa.text("DROP TABLE trigger_states"))
    _remove([*looks, *kept])


def _move(
    connection: sa.Connection, states: MonitorState[S], endpoint: str, subject: str, body: Any, decode: Callable[..., S]
) -> None:
    try:
        state = decode(body, type=states.struct)
    except msgspec.MsgspecError as error:
        LOG.warning("the state of the monitor '%s' of '%s' is left out: %s", states.monitor, endpoint, error)
        return
    states.put(connection, endpoint, state, subject, replace=False)


def _remove(files: list[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in files if path.suffix == ".kept"}:
        if not any(folder.iterdir()):
            folder.rmdir()
