"""`argosy predict`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import endpoints
from argosy.cli.output import progress, table
from argosy.spec.address import server_of
from argosy.spec.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from argosy.client.metadata import Metadata
    from argosy.protocol.rest import Response
    from argosy.spec.tensor import Tensor

KINDS = ("json", "csv", "parquet", "npy", "npz")
CHUNK_BYTES = 8 * 1024 * 1024
SHOWN = 20


@click.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
@click.option("-d", "--data", required=True, metavar="DATA", help="@FILE, - for standard input, or JSON.")
@click.option("--format", "kind", type=click.Choice(KINDS), help="Of standard input, or of a file with another name.")
@click.option("--url", envvar="ARGOSY_URL", help="A server; by default ARGOSY_URL, else the platform of the home.")
@click.option("--key", envvar="ARGOSY_KEY", help="An API key; by default ARGOSY_KEY, else the one kept by deploy.")
@click.option("--version", help="Ask this version of the model.")
@click.option(
    "--output", "outputs", multiple=True, metavar="NAME", help="An output wanted, perhaps one that is optional."
)
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds for one answer.")
@json_option
def predict(
    name: str,
    data: str,
    kind: str | None,
    url: str | None,
    key: str | None,
    version: str | None,
    outputs: tuple[str, ...],
    timeout: float,
    as_json: bool,
) -> None:
    """Send rows to an endpoint and print its answers.

    DATA is @rows.json, .csv, .parquet, .npy or .npz. JSON rows are a list of objects, a list of lists, an object of
    lists, one row as an object, or a whole inference request. Columns go by name. JSON: an inference response
    {model_name, model_version, outputs: [{name, datatype, shape, data}]}.

    \b
    Example:
      argosy predict digits -d @rows.parquet
      argosy predict digits -d '[{"age": 41, "city": "Bern"}]' --json
      cat rows.csv | argosy predict digits -d - --format csv
      argosy predict iris --url http://triton:8000 -d '[[5.1, 3.5, 1.4, 0.2]]'
    """
    from argosy.client import Client
    from argosy.protocol.rest import encode_response

    where, key = target(name, url, key)
    with Client(where, key, timeout) as client:
        found = client.metadata(name, version)
        chunks = _chunks(*_rows(found, data, kind))
        with progress(f"Asking {name}") as report:
            parts: list[Response] = []
            for number, chunk in enumerate(chunks, 1):
                parts.append(client.infer(name, chunk, version, outputs=outputs))
                if len(chunks) > 1:
                    report(f"{number} of {len(chunks)} parts")
    response = _joined(parts)
    if as_json:
        click.echo(encode_response(response)[0])
    else:
        _print(response, {spec.name: spec.classes for spec in found.outputs})


def target(name: str, url: str | None, key: str | None) -> tuple[str, str | None]:
    """Where to ask, and with which key: what was given, else the running platform and the key saved at the deploy."""
    from argosy.cli import here, keys

    if url:
        return url, key
    saved = keys.find(here.place(), name)
    try:
        found = here.control().endpoint(name)["url"]
    except Unavailable as error:
        if saved is None or not _alive(saved.url):
            raise Unavailable(f"{error.message}, or name a server with --url or ARGOSY_URL") from None
        found = saved.url
    return server_of(found), key or (saved and saved.key)


def _alive(url: str) -> bool:
    """Whether a gateway answers there: it goes on without a controller."""
    from argosy.client import Client

    with Client(url, timeout=2.0) as client:
        return client.live()


def _rows(found: "Metadata", data: str, kind: str | None) -> tuple[list["Tensor"], bool]:
    """The tensors to send, and whether their rows may be sent in parts."""
    from argosy.packaging.rows import read_rows
    from argosy.spec.signature import Signature

    source, suffix = _source(data, kind)
    batched = bool(found.inputs) and all(spec.shape[:1] == (-1,) for spec in found.inputs)
    signature = Signature(inputs=found.inputs, outputs=found.outputs, batched=batched) if found.inputs else None
    return read_rows(source, suffix, signature), batched


def _source(data: str, kind: str | None) -> tuple[Any, str]:
    """A path or bytes, and the kind of rows in it."""
    from pathlib import Path

    suffix = f".{kind}" if kind else ""
    if data.startswith("@"):
        return Path(data[1:]), suffix
    if data == "-":
        return sys.stdin.buffer.read(), suffix or ".json"
    if data.lstrip()[:1] not in ("[", "{"):
        hint = f"; for a file write  -d @{data}" if Path(data).exists() else ""
        raise InvalidArgument(f"-d takes @FILE, - or JSON (a list or an object), not '{data[:60]}'{hint}")
    if suffix not in ("", ".json"):
        raise InvalidArgument(f"--format {kind} is for files and standard input; what stands after -d itself is JSON")
    return data.encode(), ".json"


def _chunks(tensors: list["Tensor"], batched: bool) -> list[list["Tensor"]]:
    """The rows in parts of about 8 MiB, so that a large file meets no limit of a body."""
    from argosy.protocol.raw import size_of
    from argosy.spec.tensor import Tensor

    rows = tensors[0].shape[0] if batched and tensors and tensors[0].shape else 1
    size = sum(size_of(tensor) for tensor in tensors)
    if rows <= 1 or size <= CHUNK_BYTES:
        return [tensors]
    step = max(1, rows * CHUNK_BYTES // size)
    return [
        [Tensor(one.name, one.datatype, one.array[start : start + step]) for one in tensors]
        for start in range(0, rows, step)
    ]


def _joined(parts: list["Response"]) -> "Response":
    """One response of those to the parts."""
    import msgspec
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    columns = zip(*(part.tensors for part in parts), strict=True)
    tensors = [msgspec.structs.replace(same[0], array=np.concatenate([one.array for one in same])) for same in columns]
    return msgspec.structs.replace(parts[0], tensors=tensors)


def _print(response: "Response", classes: "Mapping[str, tuple[str, ...]]") -> None:
    """A row of the table for each row of the answer, where all outputs have rows; else a line for each output."""
    tensors = list(response.tensors)
    if tensors and len({tensor.shape[:1] for tensor in tensors}) == 1 and tensors[0].shape:
        cells = [[_cell(value, classes.get(tensor.name, ())) for value in tensor.array] for tensor in tensors]
        table(["row", *(tensor.name for tensor in tensors)], list(zip(range(len(cells[0])), *cells, strict=False)))
    else:
        found = [(tensor.name, _cell(tensor.array, classes.get(tensor.name, ()))) for tensor in tensors]
        table(["output", "value"], found)


def _cell(value: Any, classes: tuple[str, ...] = ()) -> str:
    """A scalar as it is, by the name of its class if it is the number of one; an array by its first values, each with
    the name of its class."""
    import numpy as np

    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if not isinstance(value, np.ndarray):
        place = int(value) if getattr(value, "dtype", np.dtype("f8")).kind in "iu" else -1
        if 0 <= place < len(classes):
            return classes[place]
        return f"{value:.6g}" if isinstance(value, np.floating | float) else str(value)
    flat = [_cell(one) for one in value.reshape(-1)[:SHOWN]]
    if len(classes) == value.size:
        flat = [f"{name} {one}" for name, one in zip(classes, flat, strict=False)]
    return (", " if classes else " ").join(flat) + (f" … {value.size} in all" if value.size > SHOWN else "")
