"""The options that say what a batch job is: those of `run` and `submit`."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from argosy.spec.errors import InvalidArgument


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """An option that is absent unless it is given: what a resumed job does not say stays as it was."""
    return click.option(*names, default=None, **settings)


OPTIONS = (
    click.argument("model", required=False),
    _option(
        "--input", "inputs", multiple=True, metavar="PATH", help="A file, folder or glob, here or s3://; repeatable."
    ),
    click.option("--output", "-o", required=True, metavar="FOLDER", help="A folder of its own, here or s3://."),
    _option("--format", type=click.Choice(["parquet", "arrow", "csv", "jsonl"]), help="Of the output.  [parquet]"),
    _option(
        "--map", "mapped", multiple=True, metavar="INPUT=COLUMN", help="An input that is called otherwise in files."
    ),
    _option("--keep", metavar="A,B", help="Columns that are written beside the answers."),
    _option("--partition", metavar="A,B", help="Columns of the output that it is cut into folders by."),
    _option("--nulls", metavar="A,B", help="Words that mean a missing value in CSV, beside the empty one."),
    _option(
        "--on-error", type=click.Choice(["fail", "skip", "quarantine"]), help="Rows that cannot be answered.  [fail]"
    ),
    _option("--fragment-rows", type=int, help="Rows that are committed together, about.  [262144]"),
    _option("--batch-size", type=int, help="Rows that go to the engine at once.  [0: probed]"),
    _option("--workers", type=int, help="Processes.  [0: probed]"),
    _option("--threads", type=int, help="Threads of the engine in each.  [0: probed]"),
    _option("--checkpoint", type=float, metavar="SECONDS", help="As much is repeated after a kill, at most.  [1]"),
    _option(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="A worker that tells nothing for so long hangs, and is killed; 0: never.  [1800]",
    ),
    _option("--engine", type=click.Choice(["local", "ray"]), help="What runs the processes.  [local]"),
    _option(
        "--env",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help="A variable that the model gets, or NAME=$VARIABLE of this environment; repeatable.",
    ),
    _option("--network/--no-network", help="Whether the model may reach the network.  [no]"),
    _option("--price", type=float, help="Of this machine per hour: shows what the job has cost."),
)


def job_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all of them."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as fields of `BatchJob`. Raises InvalidArgument."""
    found = dict(options)
    for name in ("keep", "partition", "nulls"):
        if found[name] is not None:
            found[name] = [column for column in found[name].split(",") if column]
    found["inputs"] = list(found["inputs"]) or None
    found["map"] = _map(found.pop("mapped"), "--map is INPUT=COLUMN") or None
    found["env"] = _map(found.pop("variables"), "--env is NAME=VALUE") or None
    return {name: value for name, value in found.items() if value is not None}


def _map(pairs: tuple[str, ...], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not name or not column:
            raise InvalidArgument(f"{what}, not '{pair[:80]}'")
        if name in found:
            raise InvalidArgument(f"{what}, and '{name}' is given twice")
        found[name] = column
    return found
