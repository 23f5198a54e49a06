"""Writes docs/reference from the code: `python tools/reference.py`. With --check it fails on a difference instead.

Commands come from click, declaration and settings from their structs, errors from their table, metrics from the modules
that make them.
"""

import ast
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from argosy.cli.catalog import COMMANDS, sections
from argosy.cli.init import json_schema
from argosy.console.words import size
from argosy.language.replica import METRICS as ENGINE
from argosy.serving.metrics import OWN
from argosy.spec import errors
from argosy.spec.endpoint import Endpoint
from argosy.spec.fleet import Deployment
from argosy.spec.settings import Settings

FOLDER = Path("docs/reference")
NOTE = "<!-- Written by tools/reference.py: change the code, not this page. -->\n\n"
CLI = """\
# Commands

All understand `--help`, `--json` where they print something, and `--debug`. A word that is no command runs the one that
it can mean, or is answered with those that it can mean.
"""
DECLARATION = """\
# Declaration

What `argosy apply -f` takes: one YAML document for each endpoint. `argosy init` writes one to begin with. Unknown keys
are refused. For editors: [JSON Schema](endpoint.schema.json), or `argosy schema endpoint`.
"""
CONFIG = """\
# config.yaml

Settings of a platform, in `config.yaml` of the home (`~/.argosy`). A variable wins over the file: `gateway.port` is
`ARGOSY_GATEWAY_PORT`. `argosy config` shows what is in effect. For editors: [JSON Schema](config.schema.json), or
`argosy schema config`.
"""
DEPLOYMENT = """\
# Deployment

What `argosy fleet deploy -f` takes: a model for the devices of a fleet. Unknown keys are refused. For editors:
[JSON Schema](deployment.schema.json), or `argosy schema deployment`.
"""
ERRORS = """\
# Errors

One table says what a failure is over HTTP, over gRPC and as exit status of the command. An answer over HTTP is
`{"error": "…"}`; with `--json` a command prints `{"error": "…", "code": "…"}` to standard error.

"""
STATUSES = f"""
What SIGINT or SIGTERM has ended in good order has the exit status {errors.INTERRUPTED}. `argosy plan` has 11 where
something would change, and so do `argosy drift --fail` and `argosy performance --fail` where something is found.
"""
METRICS = """\
# Metrics

`GET /metrics` of the control API has all of it in Prometheus' format; [telemetry](../guides/telemetry.md) says how to
scrape it. Counters have the suffix `_total` there, histograms `_bucket`, `_sum` and `_count`.
"""


def commands() -> Iterator[str]:
    """Every command with its help and options, under the headings of `argosy --help`."""
    yield CLI
    for heading, rows in sections().items():
        yield f"\n## {heading}\n"
        for name, about in rows:
            command = COMMANDS[name].load(name)
            if command is None or COMMANDS[name].distribution:
                yield f"\n### argosy {name}\n\n{about} A distribution of its own: `{COMMANDS[name].distribution}`.\n"
                continue
            yield from _command(command, f"argosy {name}", 3)


def _command(command: click.Command, path: str, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=path, max_content_width=100)
    usage = " ".join(command.collect_usage_pieces(context)).replace("[OPTIONS]", "").split()
    text, _, example = inspect.cleandoc(command.help or "").replace("\b\n", "\b").partition("\bExample:\n")
    yield f"\n{'#' * level} {path}\n\n"
    yield "\n".join(line.strip() for line in text.replace("\b", "\n").strip().splitlines()) + "\n"
    if not isinstance(command, click.Group):
        yield f"\n```text\n{' '.join([path, *usage])}\n```\n"
        yield from _options(command, context)
    if example:
        yield "\n```text\n" + "\n".join(line.strip() for line in example.strip().splitlines()) + "\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, f"{path} {name}", level + 1)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    rows: list[tuple[str, str]] = []
    for option in command.params:
        if (
            isinstance(option, click.Option)
            and "--debug" not in option.opts
            and (shown := option.get_help_record(context))
        ):
            default = f"  [default: {option.default}]" if option.show_default else ""
            rows.append((f"`{shown[0]}`", f"{option.help or ''}{default}"))
    if rows:
        yield "\n" + _table(("option", "what it does"), rows)


KIND = "Says which of the kinds it is."


def fields(kind: type[Any], intro: str) -> Iterator[str]:
    """Every key of a declaration, one table for each struct, the outermost first."""
    yield intro
    parts = json_schema(kind)["$defs"]
    seen: list[str] = []
    pending = [kind.__name__]
    while pending:
        name = pending.pop(0)
        if name in seen:
            continue
        seen.append(name)
        part = parts[name]
        pending += _named(part)
        needed = part.get("required", ())
        rows = [
            (f"`{key}`", _type(value), _default(value, key in needed), value.get("description", KIND))
            for key, value in part["properties"].items()
        ]
        yield f"\n## {name}\n\n" + _table(("key", "type", "default", "what it is"), rows)


def _named(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"].rpartition("/")[2]] if "$ref" in part else []
        return own + [name for value in part.values() for name in _named(value)]
    return [name for each in part for name in _named(each)] if isinstance(part, list) else []


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(_type(each) for each in value["anyOf"] if each.get("type") != "null")
    if "enum" in value:
        return ", ".join(f"`{each}`" if each != "" else "empty" for each in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}" if "items" in value else "list"
    if value.get("type") == "object":
        return "mapping"
    bounds = [f"{sign} {value[key]:g}" for key, sign in BOUNDS.items() if key in value]
    return " ".join([value.get("type", "any"), *bounds])


BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _default(value: dict[str, Any], required: bool) -> str:
    if required:
        return "needed"
    default = value.get("default")
    if default in (None, "", [], {}) and default is not False:
        return "–"
    if isinstance(default, dict | list):
        return "as below"
    if isinstance(default, int) and not isinstance(default, bool) and default >= 2**20 and default % 2**20 == 0:
        return f"`{default}` ({size(default).replace('.0 ', ' ')})"
    return f"`{json.dumps(default)}`"


def error_table() -> Iterator[str]:
    """The table of `spec/errors.py`."""
    yield ERRORS
    rows = [
        (f"`{code}`", str(kind.http), str(kind.grpc), str(kind.exit), " ".join((kind.__doc__ or "").split()))
        for code, kind in errors.table().items()
    ]
    yield _table(("code", "HTTP", "gRPC", "exit", "what it means"), rows)
    yield STATUSES


def metrics() -> Iterator[str]:
    """The series of the platform and of replicas."""
    yield METRICS
    for heading, name in (("Endpoints", "endpoints"), ("Gateway", "gateway"), ("Monitoring", "monitors")):
        tree = ast.parse(Path(f"src/argosy/api/metrics/{name}.py").read_text())
        yield f"\n## {heading}\n\n" + _table(("series", "what it is"), sorted(_series(tree)))
    yield "\n## Replicas\n\n"
    rows = [(f"`{name.removesuffix('_total')}`", text) for name, (_, text) in sorted(OWN.items())]
    yield _table(("series", "what it is"), rows)
    yield "\n## Replicas of language models\n\n"
    yield _table(("series", "what it is"), [(f"`{name.removesuffix('_total')}`", text) for name, _, text, _ in ENGINE])


OURS = ("argosy_", "gen_ai_")
"""What the names of series begin with."""


def _series(tree: ast.Module) -> set[tuple[str, str]]:
    """Names of series with their help, which stands behind the name or in the variable `text` before it."""
    found: set[tuple[str, str]] = set()
    for function in [tree, *(each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))]:
        text = ""
        for node in _ordered(function):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                text = str(node.value.value)
            parts = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
            match parts:
                case [ast.Constant(value=str(name)), ast.Constant(value=str(about)), *_] if name.startswith(OURS):
                    found.add((f"`{name}`", about))
                case [ast.Constant(value=str(name)), ast.Name(), *_] if name.startswith(OURS) and text:
                    found.add((f"`{name}`", text))
                case _:
                    pass
    return found


def _ordered(tree: ast.AST) -> Iterable[ast.AST]:
    nodes = [node for node in ast.walk(tree) if hasattr(node, "lineno")]
    return sorted(nodes, key=lambda node: (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)))


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines)


SCHEMAS = {"endpoint.schema.json": Endpoint, "config.schema.json": Settings, "deployment.schema.json": Deployment}


def pages() -> dict[Path, str]:
    """Every page and schema, with its text."""
    made = {
        "cli.md": NOTE + "".join(commands()),
        "declaration.md": NOTE + "".join(fields(Endpoint, DECLARATION)),
        "deployment.md": NOTE + "".join(fields(Deployment, DEPLOYMENT)),
        "config.md": NOTE + "".join(fields(Settings, CONFIG)),
        "errors.md": NOTE + "".join(error_table()),
        "metrics.md": NOTE + "".join(metrics()),
    }
    for name, kind in SCHEMAS.items():
        made[name] = msgspec.json.format(msgspec.json.encode(json_schema(kind)), indent=2).decode() + "\n"
    return {FOLDER / name: text for name, text in made.items()}


def main() -> int:
    """The exit status: 1 where --check finds a page that is not current."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" not in sys.argv:
            path.write_text(pages()[path])
        print(f"{path} {'is not current' if '--check' in sys.argv else 'is written'}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
