"""`argosy conformance`."""

import os
import signal
import sys
from typing import IO, TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.output import emit, progress
from argosy.spec.errors import InvalidArgument
from argosy_conformance.check import CONTRACTS

if TYPE_CHECKING:
    from argosy_conformance.check import Mode


@click.command(cls=Command)
@click.argument("url")
@click.option("--model", help="The model to test; by default one that the server lists.")
@click.option("--grpc", metavar="HOST:PORT", help="Also test gRPC here.")
@click.option("--key", envvar="ARGOSY_KEY", help="The API key; by default ARGOSY_KEY.")
@click.option("--only", multiple=True, metavar="GROUP|CHECK", help="Only this group or check; may be repeated.")
@click.option("--mode", type=click.Choice(["tolerant", "strict"]), help="What it is to do with what only fits.")
@click.option("--disruptive", is_flag=True, help="Also unload and reload models.")
@click.option("--pid", type=int, help="The server's process: last of all it gets a SIGTERM, and its drain is judged.")
@click.option(
    "--contract", type=click.Choice(sorted(CONTRACTS)), help="Test what this cloud asks of a container instead."
)
@click.option("--openai", is_flag=True, help="Test OpenAI's API instead: --contract openai.")
@click.option(
    "--rows", type=click.File("rb"), help="JSON: two rows that the model takes, if its metadata says nothing."
)
@click.option("--predict-route", metavar="PATH", help="Where a contract's predictions are asked for, if it is free.")
@click.option("--health-route", metavar="PATH", help="Where a contract asks for health, if it is free.")
@click.option("--place", multiple=True, metavar="PATH", help="A model that SageMaker's multi-model server is to load.")
@json_option
def conformance(
    url: str,
    model: str | None,
    grpc: str | None,
    key: str | None,
    only: tuple[str, ...],
    mode: "Mode | None",
    disruptive: bool,
    pid: int | None,
    contract: str | None,
    openai: bool,
    rows: IO[bytes] | None,
    predict_route: str | None,
    health_route: str | None,
    place: tuple[str, ...],
    as_json: bool,
) -> None:
    """Test any server against the Open Inference Protocol v2, and print what passed and what failed.

    Requests that fit the model only by a cast, another shape or name may be answered or refused, unless --mode says
    which. The exit status is 1 when a check failed.

    With --contract the suite of a cloud is run instead. That of lambda listens at URL, as Lambda's Runtime API, and
    waits for the container: start it with AWS_LAMBDA_RUNTIME_API=HOST:PORT.

    \b
    Example:
      argosy conformance http://127.0.0.1:8000 --grpc 127.0.0.1:8001 --mode strict
      argosy conformance http://127.0.0.1:8080 --contract sagemaker
      argosy conformance http://127.0.0.1:8080 --openai --model gemma
    """
    from argosy_conformance import render, run

    given = _rows(rows)
    routes = {name: path for name, path in (("predict", predict_route), ("health", health_route)) if path}

    with progress(f"Testing {url}") as report:
        found = run(
            url,
            model=model,
            grpc=grpc,
            key=key,
            checks=only or None,
            mode=mode or "",
            disruptive=disruptive,
            drain=(lambda: os.kill(pid, signal.SIGTERM)) if pid else None,
            contract="openai" if openai else contract or "",
            rows=given,
            routes=routes,
            models=place,
            report=(lambda result: report(result.title)) if sys.stderr.isatty() else (lambda result: None),
        )
    emit(found, as_json, lambda: click.echo(render(found), nl=False))
    if not found.ok:
        sys.exit(1)


def _rows(file: IO[bytes] | None) -> list[Any] | None:
    import msgspec

    try:
        return None if file is None else msgspec.json.decode(file.read(), type=list[Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"--rows must be a JSON list of rows: {error}") from None
