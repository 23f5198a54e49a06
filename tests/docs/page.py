"""A page of the documentation, read as its reader would: block by block, in the order in which they stand."""

import re
import subprocess
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.ports import free

ROOT = Path(__file__).parents[2]
OPENING = re.compile(r"```(\w+)")


class Block(NamedTuple):
    """A fenced block: `line`, counted from 1, is that of its opening fence; `heading` the nearest one above."""

    page: str
    heading: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language}, under {self.heading!r})"


def blocks(page: str, ports: Collection[str] = ()) -> list[Block]:
    """The blocks of a page, a path below the repository; each of `ports` that it names is replaced by a free one, or,
    where they are a mapping, by what that says.

    AssertionError for a fence that is not ```` ```language ```` at the margin, one that is never closed, and a port
    that the page does not name: what cannot be read is not passed over.
    """
    text = (ROOT / page).read_text()
    for port in ports:
        assert port in text, f"{page} does not name port {port}"
        text = text.replace(port, ports[port] if isinstance(ports, Mapping) else free_port())
    found: list[Block] = []
    lines: list[str] = []
    heading, language, start = "", "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if language and line == "```":
            found.append(Block(page, heading, start, language, "".join(f"{each}\n" for each in lines)))
            language = ""
        elif language:
            lines.append(line)
        elif line.lstrip().startswith(("```", "~~~")):
            opening = OPENING.fullmatch(line)
            assert opening, f"{page}:{number}: a fence that names no language, or is not at the margin: {line!r}"
            language, start, lines = opening[1], number, []
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    assert not language, f"{page}:{start}: a block that is never closed"
    return found


def run(
    page: str,
    names: dict[str, object],
    *,
    ports: Collection[str] = (),
    seconds: float = 200,
    checks: Mapping[str, Callable[[str], None]] | None = None,
    shown: Collection[str] = (),
) -> str:
    """Run a page's blocks in the folder and environment there are; what its shell blocks wrote to stdout.

    `sh` runs in a shell of its own that ends at the first error, each at most `seconds`; `python` in this process, all
    with `names` as their variables. Blocks of the languages of `checks` are handed to these; those of `shown` are there
    to be looked at. `ports` as in `blocks`. What fails raises, with the block's place as a note; AssertionError also
    for a language that nobody named, and for one that was named and is not on the page.
    """
    said: list[str] = []
    ways: dict[str, Callable[[Block], object]] = {
        "sh": lambda block: said.append(shell(block, seconds)),
        "python": lambda block: python(block, names),
        **{language: lambda block, check=check: check(block.text) for language, check in (checks or {}).items()},
        **dict.fromkeys(shown, lambda _: None),
    }
    found = blocks(page, ports)
    missing = {*(checks or {}), *shown} - {block.language for block in found}
    assert not missing, f"{page} has no block of {', '.join(sorted(missing))}"
    for block in found:
        assert block.language in ways, f"{block}: nobody said what becomes of it"
        try:
            ways[block.language](block)
        except Exception as error:
            error.add_note(f"in the block at {block}")
            raise
    return "".join(said)


def shell(block: Block, seconds: float) -> str:
    """What a block wrote to stdout; AssertionError unless it ends with 0, TimeoutExpired if not within `seconds`."""
    done = subprocess.run(["sh", "-ec", block.text], capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{block}: exit {done.returncode}\n{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def python(block: Block, names: dict[str, object]) -> None:
    """Run a block with `names` as its variables; a traceback names the page and the line there."""
    exec(compile("\n" * block.line + block.text, str(ROOT / block.page), "exec"), names)


def free_port() -> str:
    """A TCP port of this machine that nobody listens on now."""
    return str(free())
