"""The time as the database keeps it."""

from datetime import UTC, datetime


def now() -> str:
    """This moment, UTC, ISO 8601 with microseconds: sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
