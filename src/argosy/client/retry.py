"""When a client tries again: a pure policy."""

ATTEMPTS = 4
FIRST_WAIT = 0.1
LONGEST_WAIT = 10.0


def wait_before(attempt: int, retry_after: float | None, left: float, jitter: float) -> float | None:
    """Seconds to wait before try number `attempt` + 1, or None to give up.

    `attempt` counts the tries made; `retry_after` is what the server asked for (None: the connection was refused);
    `left` is what remains of the caller's time; `jitter` is random in [0, 1). Never more than `ATTEMPTS` tries, and
    never a wait that the caller's time does not cover.
    """
    if attempt >= ATTEMPTS:
        return None
    base = FIRST_WAIT * 2.0 ** (attempt - 1) if retry_after is None else retry_after
    if base > LONGEST_WAIT:
        return None
    wait = base * (0.5 + jitter) if retry_after is None else base * (1.0 + jitter / 4) + FIRST_WAIT * jitter
    return wait if wait < left else None


def parse_retry_after(value: str | None) -> float | None:
    """The seconds of a Retry-After header; None for a date, nonsense or no header."""
    try:
        seconds = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e6 else None
