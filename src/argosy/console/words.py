"""Numbers and times as people read them."""

import math
import time
from datetime import UTC, datetime
from typing import Any

import msgspec


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits: 0.0123, 1.23, 12.3, 1,230, 1.23 M."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:,.{digits}g} M" if size < 1e9 else f"{value / 1e9:,.{digits}g} G"
    if size >= 100:
        return f"{value:,.0f}"
    if size and size < 1e-4:
        return f"{value:.1e}"
    return f"{value:.{digits}g}"


def figure(value: float | None) -> str:
    """Four digits, zeros at the end too: 0.8300."""
    return "–" if value is None or not math.isfinite(value) else f"{value:#.4g}".rstrip(".")


def money(value: float | None) -> str:
    """Dollars: 0.0123 $, 1,230 $."""
    return "–" if value is None else f"{number(value, 4)} $"


def rate(value: float | None) -> str:
    """Events a second."""
    if value is None or value < 0.005:
        return "–" if value is None else "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(value: float | None) -> str:
    """A share as percent."""
    if value is None or not math.isfinite(value):
        return "–"
    if value in (0, 1):
        return f"{value * 100:.0f} %"
    return f"{value * 100:.2f} %" if value < 0.1 else f"{value * 100:.1f} %"


def milliseconds(value: float | None) -> str:
    """A duration in ms or s."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 1:
        return "< 1 ms"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def size(count: float) -> str:
    """Bytes: 1.5 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return ""


def age(seconds: float) -> str:
    """A span: 42 s, 7 min, 3 h, 12 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(max(seconds, 0))} s"


def since(moment: str | float, now: float | None = None) -> str:
    """How long ago a time was: ISO 8601, or seconds since 1970."""
    at = moment if isinstance(moment, int | float) else stamp(moment)
    return age((time.time() if now is None else now) - at) if at else ""


def stamp(moment: str) -> float:
    """ISO 8601 → seconds since 1970; 0 for what is none."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return 0.0


def plain(value: object) -> str:
    """A value of a declaration in one line; nothing where there is none."""
    if value is None:
        return "∅"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def clock(moment: str | float | None) -> str:
    """A time to the second, UTC: ISO 8601, or seconds since 1970; nothing for what is none."""
    at = stamp(moment) if isinstance(moment, str) else moment
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def limits(found: Any) -> list[str]:
    """The limits of a key's tokens and money, of the struct or its fields."""
    told: list[str] = []
    fields: dict[str, Any] = msgspec.to_builtins(found) if found is not None else {}
    for name, value in fields.items():
        what, _, period = name.partition("_per_")
        if value is not None and period:
            told.append(f"{short(value) if what == 'tokens' else f'{value:g}'} {what}/{period}")
    return told


def short(count: float) -> str:
    """A number of tokens: 950, 20k, 1.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.4g}{unit}"
    return f"{count:.4g}"
