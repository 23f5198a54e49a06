"""`argosy top`: endpoints with their traffic, then rollouts, then alerts."""

import contextlib
import os
import select
import sys
import time
from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from argosy.cli.base import Command, json_option
from argosy.cli.here import control, endpoint_path
from argosy.cli.output import emit, printable
from argosy.cli.rollout import split, verdict
from argosy.console.words import milliseconds, percent, rate, size
from argosy.spec.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    from argosy.client.control import ControlClient

SECONDS = 2.0
SPARE = 6
"""Lines that are not the endpoints'."""
STATES = {"ready": "green", "failed": "red", "stopped": "dim"}
BAR = 20
RIGHT = ("ready", "req/s", "errors", "p50", "p95", "cpu", "memory")
MOST_ALERTS = 5

Json = dict[str, Any]
NO_RATES: Json = {"requests": 0.0, "errors": 0.0, "p50": None, "p95": None}


class TopView(msgspec.Struct, frozen=True, kw_only=True):
    """The platform at one moment, as the control API reports it. `rollouts` are those that go on."""

    endpoints: list[Json]
    rates: dict[str, Json]
    loads: list[Json]
    rollouts: list[Json]
    alerts: list[Json]
    at: str


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="Draw it once and end.")
@click.option("--every", type=float, default=SECONDS, show_default=True, help="Seconds between two looks.")
@json_option
def top(once: bool, every: float, as_json: bool) -> None:
    """Watch endpoints in the terminal: traffic, latency, errors, replicas, load, rollouts and alerts.

    Rates are measured every 5 seconds. q or Ctrl-C leaves. JSON, of one look: {endpoints, rates, loads, rollouts,
    alerts, at}.

    \b
    Example:
      argosy top
      argosy top --once
    """
    if not 0.2 <= every <= 3600:
        raise InvalidArgument(f"--every must be 0.2 to 3600 seconds, not {every:g}")
    from rich.console import Console

    api = control()
    if once or as_json or not sys.stdout.isatty():
        view = observe(api)
        emit(view, as_json, lambda: Console(highlight=False).print(picture(view)))
        return
    with contextlib.suppress(KeyboardInterrupt):
        _live(api, every)


def _live(api: "ControlClient", every: float) -> None:
    from rich.live import Live

    with _keys(), Live(screen=True, auto_refresh=False) as screen:
        while True:
            view = observe(api)
            rows = screen.console.height - SPARE - len(view.rollouts) - min(len(view.alerts), MOST_ALERTS)
            screen.update(picture(view, max(rows, 3)), refresh=True)
            if _asked_to_leave(every):
                return


def observe(api: "ControlClient") -> TopView:
    """The platform at this moment."""
    endpoints, live = api.endpoints(), api.get("/v1/live")
    rollouts: list[Json] = []
    for one in endpoints:
        if one["state"] == "updating":
            with contextlib.suppress(NotFound):
                rollouts.append(api.get(f"{endpoint_path(one['name'])}/rollout"))
    return TopView(
        endpoints=endpoints,
        rates=live["endpoints"],
        loads=live["replicas"],
        rollouts=[each for each in rollouts if each["live"]],
        alerts=[each for each in api.get("/v1/alerts") if each["state"] == "firing"],
        at=datetime.now().astimezone().strftime("%H:%M:%S"),
    )


@contextlib.contextmanager
def _keys() -> Generator[None]:
    """Keys come one by one and are not shown, if there is a keyboard."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _asked_to_leave(seconds: float) -> bool:
    """Whether q was pressed before the time is over."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0] and os.read(sys.stdin.fileno(), 1) in (b"q", b"Q", b"\x03", b""):
            return True
    return False


def picture(view: TopView, rows: int = 1000) -> "Group":
    """The screen; of the endpoints at most so many rows: those that are not ready first, then the busiest."""
    from rich.console import Group
    from rich.text import Text

    ready = sum(one["state"] == "ready" for one in view.endpoints)
    requests, errors = (sum(one[what] for one in view.rates.values()) for what in ("requests", "errors"))
    heading = Text(f"argosy top  {view.at}  ", "bold", no_wrap=True, overflow="ellipsis")
    heading.append(f"{ready} of {len(view.endpoints)} ready, {rate(requests)} requests/s, ", "not bold")
    heading.append(f"{_share(errors, requests)} errors", "red" if errors else "not bold")
    parts: list[RenderableType] = [heading, _endpoints(view, rows)]
    if (left := len(view.endpoints) - rows) > 0:
        parts.append(Text(f"… and {left} more: make the window taller", "dim"))
    if view.rollouts:
        parts += [Text(), *map(_rollout, view.rollouts)]
    if view.alerts:
        parts.append(Text())
    for each in view.alerts[:MOST_ALERTS]:
        text = Text(f"{each['severity']:6} ", "red", no_wrap=True, overflow="ellipsis")
        parts.append(text.append(printable(f"{each['endpoint']} {each['kind']} {each['subject']}: {each['text']}")))
        text.stylize("default", 7)
    return Group(*parts)


def _endpoints(view: TopView, rows: int) -> "Table":
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=True)
    drawn.add_column("endpoint", no_wrap=True, overflow="ellipsis", ratio=3, min_width=10)
    drawn.add_column("serves", no_wrap=True, overflow="ellipsis", ratio=2, min_width=8)
    for name in RIGHT:
        drawn.add_column(name, justify="right", no_wrap=True)

    def order(one: Json) -> tuple[bool, float, str]:
        requests = view.rates.get(one["name"], NO_RATES)["requests"]
        return one["state"] in ("ready", "stopped"), -requests, one["name"]

    for one in sorted(view.endpoints, key=order)[:rows]:
        now = view.rates.get(one["name"], NO_RATES)
        loads = [each for each in view.loads if each["endpoint"] == one["name"]]
        drawn.add_row(
            Text("● ", STATES.get(one["state"], "yellow")).append(one["name"], "not dim default"),
            Text(one["serving"] or "-"),
            Text(f"{one['ready']}/{one['replicas']}", "" if one["ready"] >= one["replicas"] else "yellow"),
            Text(rate(now["requests"])),
            Text(_share(now["errors"], now["requests"]), "red" if now["errors"] else ""),
            Text(milliseconds(now["p50"])),
            Text(milliseconds(now["p95"])),
            Text(f"{sum(each['cpu'] for each in loads):.2f}"),
            Text(size(sum(each["memory"] for each in loads))),
        )
    return drawn


def _rollout(found: Json) -> "Text":
    from rich.text import Text

    weight = found["weight"]
    text = Text(f"{found['endpoint']}  ", "bold", no_wrap=True, overflow="ellipsis", end="\n")
    text.append(f"{found['stable']} {100 - weight} % ", "not bold").append_text(split(weight, BAR))
    text.append(f" {weight} % {found['candidate']}  {'paused' if found['paused'] else found['phase']}", "not bold")
    return text.append(", ", "not bold").append_text(verdict("guard", found["verdict"])) if found["guarded"] else text


def _share(errors: float, requests: float) -> str:
    return percent(errors / requests) if requests else "–"
