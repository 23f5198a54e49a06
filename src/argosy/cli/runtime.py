"""The options that say how a replica runs, shared by `serve` and `deploy`."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec

from argosy.console.words import size
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import InvalidArgument
from argosy.spec.language import KV_TYPES

F = TypeVar("F", bound=Callable[..., Any])

SECONDS = click.FloatRange(min=0, min_open=True)


class Bytes(click.ParamType[int]):
    """A size: bytes, or with a unit as in 64MiB and 1.5 GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes. Raises BadParameter."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?))?B?", str(value), re.IGNORECASE)
        if match is None or (found := int(float(match[1]) * _unit(match[2], match[3]))) < 1:
            self.fail(f"'{value}' is no size: write bytes, or a number with a unit as in 64MiB", param, ctx)
        return found


def _unit(letter: str | None, binary: str | None) -> int:
    return (1024 if binary else 1000) ** ("KMGT".index(letter.upper()) + 1) if letter else 1


OPTIONS: dict[str, tuple[str, Any, str]] = {
    "threads": ("--threads", click.IntRange(min=0), "Threads of the engine; 0 takes the cores there are."),
    "max_batch_size": ("--max-batch-size", click.IntRange(min=1), "Rows that may share one engine call."),
    "max_queue_delay": ("--max-queue-delay", click.FloatRange(min=0), "Seconds a batch may wait for company."),
    "max_queue_size": ("--max-queue-size", click.IntRange(min=1), "Requests that may wait; more are refused with 503."),
    "timeout": ("--request-timeout", SECONDS, "Seconds until a request fails with 504."),
    "start_timeout": ("--start-timeout", SECONDS, "Seconds a replica may take to become ready."),
    "hang_timeout": ("--hang-timeout", SECONDS, "Seconds until a call counts as hung."),
    "drain_timeout": ("--drain-timeout", SECONDS, "Seconds to finish at a stop."),
    "max_body_bytes": ("--max-body-bytes", Bytes(), "The largest request body."),
    "body_timeout": ("--body-timeout", SECONDS, "Seconds a body may take to arrive."),
    "env": (
        "--env",
        str,
        "NAME=VALUE that the model gets, or NAME=$VARIABLE of the platform's environment; may be given more than once.",
    ),
    "network": ("--network/--no-network", bool, "Whether the model may reach the network."),
    "subprocesses": ("--subprocesses/--no-subprocesses", bool, "Whether the model may start other processes."),
    "sandbox": (
        "--sandbox",
        click.Choice(["default", "required"]),
        "Whether to run without the parts of the sandbox that a machine lacks, or not at all.",
    ),
    "strict": (
        "--strict/--tolerant",
        bool,
        "Whether to refuse requests that fit the model only by a cast, a reshape or another name.",
    ),
    "allow_nan": ("--allow-nan/--refuse-nan", bool, "Whether NaN answers are given out or fail."),
}
"""Field of `Runtime` → its option, type and help."""

SUPERVISED = ("start_timeout", "env", "network", "subprocesses", "sandbox")
"""What only a platform acts upon."""


def runtime_options(function: F) -> F:
    """Add an option for each field of `Runtime`; the command gets them as `runtime_<field>`, None where not given."""
    return _add(function, OPTIONS)


ENGINE: dict[str, tuple[Any, str]] = {
    "context": (click.IntRange(1), "tokens of one sequence, answer included."),
    "slots": (click.IntRange(1, 1024), "sequences generated at once."),
    "kv_type": (click.Choice(KV_TYPES), "datatype of the KV cache."),
    "gpu_layers": (click.IntRange(-1), "layers on the GPU; -1: all that fit."),
    "batch_tokens": (click.IntRange(1), "tokens that one step takes in."),
}
"""Settings of a language model's engine that are options."""


def language_options(command: F) -> F:
    """The options of `ENGINE`, and `--dry-run`."""
    dry = "Language models: print the command that starts the engine, and end."
    command = click.option("--dry-run", is_flag=True, help=dry)(command)
    for name, (kind, text) in reversed(ENGINE.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=kind, help=f"Language models: {text}")(command)
    return command


def serving_options(function: F) -> F:
    """Those of them that mean something to a replica without a platform."""
    return _add(function, {field: option for field, option in OPTIONS.items() if field not in SUPERVISED})


def _add(function: F, options: Mapping[str, tuple[str, Any, str]]) -> F:
    defaults = Runtime()
    for field, (name, kind, text) in reversed(list(options.items())):
        value = getattr(defaults, field)
        shown = (
            f"{text}  [default: {_shown(value, kind)}]" if isinstance(value, int | float) and kind is not bool else text
        )
        many = field == "env"
        add = click.option(name, f"runtime_{field}", type=kind, default=None, multiple=many, help=shown)
        function = add(function)
    return function


def _shown(value: float, kind: Any) -> str:
    return size(value).replace(".0 ", " ") if isinstance(kind, Bytes) else f"{value:,.10g}"


def runtime_of(given: Mapping[str, Any], base: Runtime | None = None) -> Runtime:
    """`base`, changed by the options that were given."""
    found = {field: given.get(f"runtime_{field}") for field in OPTIONS}
    variables = [each.partition("=") for each in found["env"] or ()]
    if wrong := next((name for name, equals, _ in variables if not equals), None):
        raise InvalidArgument(f"--env {wrong[:80]}: write it as NAME=VALUE")
    found["env"] = {name: value for name, _, value in variables} or None
    changes = {field: each for field, each in found.items() if each is not None}
    return msgspec.structs.replace(base or Runtime(), **changes)
