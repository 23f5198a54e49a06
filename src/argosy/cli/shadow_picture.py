"""The comparison of a shadow's answers as the terminal shows it."""

from typing import Any

from rich.table import Table
from rich.text import Text

WIDTH = 20
VERDICTS = {"advance": "green", "rollback": "red", "pause": "yellow"}


def shadow_picture(found: dict[str, Any]) -> list[Text | Table]:
    """How far it has come, agreement with its interval, latencies, errors, outputs, ids that disagree."""
    parts: list[Text | Table] = [_progress(found), _agreement(found)]
    if found["outputs"]:
        parts.append(_outputs(found))
    if found["examples"]:
        told = "; ".join(f"{id} ({what})" for id, what in found["examples"])
        parts.append(Text(f"disagree: {told}", "dim"))
    if found["reason"]:
        parts.append(Text(f"shadow: {found['verdict']}: {found['reason']}", VERDICTS.get(found["verdict"], "")))
    return parts


def _progress(found: dict[str, Any]) -> Text:
    done = min(WIDTH, WIDTH * found["compared"] // found["requests"])
    text = Text("shadow ").append("█" * done, "cyan").append("░" * (WIDTH - done), "dim")
    text.append(
        f" {found['compared']:,} of {found['requests']:,} answers compared, {found['share']:.4g} of the requests"
    )
    lost, repeated = sum(found["unmatched"]), found["repeated"]
    return text.append(f"; {lost:,} without the other's, {repeated:,} ids twice" if lost or repeated else "")


def _agreement(found: dict[str, Any]) -> Text:
    text = Text(f"agreement {found['agreement']:.2%} ({found['low']:.2%} to {found['high']:.2%}), ")
    text.append(f"needed {found['needed']:.2%}; failed: candidate {found['candidate_failed']:,}, ")
    text.append(f"stable {found['stable_failed']:,}")
    stable, candidate = found["stable_latency"], found["candidate_latency"]
    if stable["p50"] is None or candidate["p50"] is None:
        return text
    return text.append("; latency " + ", ".join(f"{q} {_ms(candidate[q])}, stable {_ms(stable[q])}" for q in stable))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _outputs(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("output", "agrees", "largest difference", "mean"):
        table.add_column(column)
    for each in found["outputs"]:
        table.add_row(each["name"], f"{each['agreement']:.2%}", f"{each['largest']:.3g}", f"{each['mean']:.3g}")
    return table
