"""The options that say how a replica runs, shared by `serve` and `deploy`."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec

from argosy.spec.endpoint import Runtime

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS: dict[str, tuple[str, Any, str]] = {
    "threads": ("--threads", click.IntRange(min=0), "Threads of the engine; 0 takes the cores there are."),
    "max_batch_size": ("--max-batch-size", click.IntRange(min=1), "Rows that may share one engine call."),
    "max_queue_delay": ("--max-queue-delay", click.FloatRange(min=0), "Seconds a batch may wait for company."),
    "max_queue_size": ("--max-queue-size", click.IntRange(min=1), "Requests that may wait; more are refused with 503."),
    "timeout": ("--request-timeout", click.FloatRange(min=0, min_open=True), "Seconds until a request fails with 504."),
    "start_timeout": (
        "--start-timeout",
        click.FloatRange(min=0, min_open=True),
        "Seconds a replica may take to become ready.",
    ),
    "hang_timeout": ("--hang-timeout", click.FloatRange(min=0, min_open=True), "Seconds until a call counts as hung."),
    "drain_timeout": ("--drain-timeout", click.FloatRange(min=0, min_open=True), "Seconds to finish at a stop."),
    "max_body_bytes": ("--max-body-bytes", click.IntRange(min=1), "The largest request body."),
    "body_timeout": ("--body-timeout", click.FloatRange(min=0, min_open=True), "Seconds a body may take to arrive."),
    "allow_nan": ("--allow-nan/--refuse-nan", bool, "Whether NaN answers are given out or fail."),
}
"""Field of `Runtime` → its option, type and help."""

SUPERVISED = ("start_timeout",)
"""What only a platform acts upon."""


def runtime_options(function: F) -> F:
    """Add an option for each field of `Runtime`; the command gets them as `runtime_<field>`, None where not given."""
    return _add(function, OPTIONS)


def serving_options(function: F) -> F:
    """Those of them that mean something to a replica without a platform."""
    return _add(function, {field: option for field, option in OPTIONS.items() if field not in SUPERVISED})


def _add(function: F, options: Mapping[str, tuple[str, Any, str]]) -> F:
    defaults = Runtime()
    for field, (name, kind, text) in reversed(list(options.items())):
        shown = f"{text}  [default: {getattr(defaults, field):g}]" if field != "allow_nan" else text
        add = click.option(name, f"runtime_{field}", type=kind, default=None, help=shown)
        function = add(function)
    return function


def runtime_of(given: Mapping[str, Any], base: Runtime | None = None) -> Runtime:
    """`base`, changed by the options that were given."""
    found = {field: given.get(f"runtime_{field}") for field in OPTIONS}
    return msgspec.structs.replace(
        base or Runtime(), **{field: each for field, each in found.items() if each is not None}
    )
