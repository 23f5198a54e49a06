"""`argosy logs`."""

import re
import time
from pathlib import Path
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import place
from argosy.spec.errors import NotFound

POLL_SECONDS = 0.2


class Logs(Command):
    """`argosy logs payload ENDPOINT …` is a command of its own; a single `payload` is a name like any other."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of either command."""
        if len(args) > 1 and args[0] == "payload":
            from argosy.cli.payload import payload

            return payload.make_context(f"{info_name} payload", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=Logs)
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Keep printing what is written, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="Lines of the past.")
@json_option
def logs(name: str, follow: bool, lines: int, as_json: bool) -> None:
    """Print or follow the logs of an endpoint, a replica, the gateway or the controller.

    NAME is an endpoint (all its replicas, also those that ended), a replica as `argosy ps` names it, `gateway` or
    `control`. With --json each line is an object with `source` and `line`. What the endpoint was asked and what it
    answered is in another log: argosy logs payload --help.

    \b
    Example:
      argosy logs digits -n 20
      argosy logs -f gateway
      argosy logs payload digits --since 1h --where "code >= 500"
    """
    from argosy.cli.tail import follow as followed
    from argosy.process import tail

    folder = place().logs
    files = find(folder, name)
    if not files:
        known = ", ".join(names(folder)) or "none yet"
        raise NotFound(f"there are no logs of '{name}' under {folder}; there are logs of {known}")
    many = len(files) > 1 or find(folder, name, exact=True) == []
    for path in files:
        for line in tail.lines(path, lines)[1].decode(errors="replace").splitlines():
            _print(path.stem, line, many, as_json)
    if follow:
        for source, line in followed(lambda: find(folder, name), _wait):
            _print(source, line, many, as_json)


def _wait() -> bool:
    time.sleep(POLL_SECONDS)
    return True


def _print(source: str, line: str, many: bool, as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"source": source, "line": line}))
    else:
        click.echo(f"{click.style(source, fg='cyan')}  {line}" if many else line)


def find(folder: Path, name: str, *, exact: bool = False) -> list[Path]:
    """The log files of an endpoint or a replica, or those whose name starts with `gateway` or `control`."""
    replicas = re.compile(re.escape(name) + r"-[0-9a-f]{6}-\d+")
    system = (
        re.compile(rf"{re.escape(name)}(\.\w+)?") if name in ("gateway", "control") else re.compile(re.escape(name))
    )
    found = (
        path
        for path in folder.glob("*.log")
        if system.fullmatch(path.stem) or (not exact and replicas.fullmatch(path.stem))
    )
    return sorted(found, key=lambda path: path.stem)


def names(folder: Path) -> list[str]:
    """What there are logs of."""
    return sorted({re.sub(r"-[0-9a-f]{6}-\d+$", "", path.stem).partition(".")[0] for path in folder.glob("*.log")})
