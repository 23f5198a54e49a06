"""`argosy logs`."""

import contextlib
import re
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import place
from argosy.process import tail
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
@click.option("-f", "--follow", "following", is_flag=True, help="Keep printing what is written, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="Lines of the past.")
@json_option
def logs(name: str, following: bool, lines: int, as_json: bool) -> None:
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
    folder = place().logs
    files = find(folder, name)
    if not files:
        known = ", ".join(names(folder)) or "none yet"
        raise NotFound(f"there are no logs of '{name}' under {folder}; there are logs of {known}")
    many = len(files) > 1 or find(folder, name, exact=True) == []
    ends: dict[Path, int] = {}
    for path in files:
        ends[path], last = tail.lines(path, lines)
        for line in last.splitlines():
            _print(path.stem, line, many, as_json)
    if following:
        for source, line in follow(lambda: find(folder, name), ends):
            _print(source, line, many, as_json)


def _print(source: str, line: bytes, many: bool, as_json: bool) -> None:
    text = line.decode(errors="replace")
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"source": source, "line": text}))
    else:
        click.echo(f"{click.style(source, fg='cyan')}  {text}" if many else text)


def follow(find: Callable[[], list[Path]], ends: dict[Path, int]) -> Generator[tuple[str, bytes]]:
    """Lines that are written after `ends` to the files that `find` names, and all of files that appear later: the
    file's stem, and the line."""
    with contextlib.ExitStack() as opened:
        followers = {path: opened.enter_context(tail.Follower(path, end)) for path, end in ends.items()}
        rests = dict.fromkeys(followers, b"")
        while True:
            for path in find():
                if path not in followers:
                    followers[path], rests[path] = opened.enter_context(tail.Follower(path)), b""
            for path, follower in followers.items():
                while data := follower.read():
                    *whole, rests[path] = (rests[path] + data).split(b"\n")
                    yield from ((path.stem, line) for line in whole)
            time.sleep(POLL_SECONDS)


def find(folder: Path, name: str, *, exact: bool = False) -> list[Path]:
    """The log files of an endpoint or a replica, or those whose name starts with `gateway` or `control`."""
    more = r"(\.\w+)?" if name in ("gateway", "control") else ""
    replicas = "" if exact else r"|-[0-9a-f]{6}-\d+"
    wanted = re.compile(rf"{re.escape(name)}({more}{replicas})")
    found = (path for path in folder.glob("*.log") if wanted.fullmatch(path.stem))
    return sorted(found, key=lambda path: path.stem)


def names(folder: Path) -> list[str]:
    """What there are logs of."""
    return sorted({re.sub(r"-[0-9a-f]{6}-\d+$", "", path.stem).partition(".")[0] for path in folder.glob("*.log")})
