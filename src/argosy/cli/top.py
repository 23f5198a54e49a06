"""`argosy top`."""

import contextlib
import os
import select
import sys
import time
from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control, endpoint_path
from argosy.cli.output import emit
from argosy.spec.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from argosy.cli.picture import Json, TopView
    from argosy.client.control import ControlClient

SECONDS = 2.0
SPARE = 6
"""Lines that are not the endpoints'."""


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="Draw it once and end.")
@click.option("--every", type=float, default=SECONDS, show_default=True, help="Seconds between two looks.")
@json_option
def top(once: bool, every: float, as_json: bool) -> None:
    """Watch endpoints in the terminal: traffic, latency, errors, replicas, load, tokens, rollouts and alerts.

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

    from argosy.cli.picture import top_picture

    api = control()
    if once or as_json or not sys.stdout.isatty():
        view = observe(api)
        emit(view, as_json, lambda: Console(highlight=False).print(top_picture(view)))
        return
    with contextlib.suppress(KeyboardInterrupt):
        _live(api, every)


def _live(api: "ControlClient", every: float) -> None:
    from rich.live import Live

    from argosy.cli.picture import MOST_ALERTS, top_picture

    with _keys(), Live(screen=True, auto_refresh=False) as screen:
        while True:
            view = observe(api)
            rows = screen.console.height - SPARE - len(view.rollouts) - min(len(view.alerts), MOST_ALERTS)
            screen.update(top_picture(view, max(rows, 3)), refresh=True)
            if _asked_to_leave(every):
                return


def observe(api: "ControlClient") -> "TopView":
    from argosy.cli.picture import TopView

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
        costs={one["endpoint"]: one for one in api.get("/v1/costs", since=3600)["rows"]},
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
