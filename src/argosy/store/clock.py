"""The time as the database keeps it."""

from datetime import UTC, datetime


def now() -> str:
    """This moment, UTC, ISO 8601 with microseconds: sorts as text."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """A moment in UTC as `now` writes it."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
