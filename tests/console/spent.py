"""Rows of cost for the pages: eight endpoints in the last two days, and one that gave credit back."""

from argosy.spec.offer import CostRow
from argosy.store import costs
from argosy.store.costs import HOUR, CostHour
from argosy.store.database import Database

ENDPOINTS = ("fraud", "spam", "digits", "faces", "roads", "words", "tiny")


def spent(database: Database, now: float, hostile: str) -> None:
    """Each hour: requests by one key, a start, what waited; in the last hour a problem at its close."""
    this = int(now) // HOUR * HOUR
    with database.begin() as connection:
        for hour in range(this - 48 * HOUR, this + HOUR, HOUR):
            rows = [CostRow(hour=hour, endpoint="", version="", use="credit", cost=-0.25)]
            for place, name in enumerate((*ENDPOINTS, hostile)):
                row = CostRow(hour=hour, endpoint=name, version=f"{name[:20]}:2", use="requests", key="k1", seconds=900)
                work = {"cost": 1.0 / (place + 1), "requests": 1000, "tokens": 20_000 if name == "words" else 0}
                idle = {"use": "idle", "key": "", "seconds": 2700, "cost": 0.5 / (place + 1)}
                rows += [replaced(row, **work), replaced(row, **idle)]
            costs.add(connection, rows)
        problem = f"{hostile}: rows are 3 % short"
        costs.close(
            connection, CostHour(hour=this - HOUR, booked=3.9, billed=4.0, used=7200, measured=7200, problem=problem)
        )


def replaced(row: CostRow, **more: object) -> CostRow:
    return CostRow(**{name: getattr(row, name) for name in row.__struct_fields__} | more)
