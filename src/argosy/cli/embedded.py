"""`argosy export c | lib | wasm | web | onnx | ort | tflite | gguf`."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argosy.cli.base import json_option
from argosy.cli.completion import sources
from argosy.cli.output import emit
from argosy.cli.runtime import Bytes

if TYPE_CHECKING:
    from argosy.packaging.package import Package


@contextmanager
def _opened(ref: str, name: str | None = None) -> "Generator[tuple[Package, str, str]]":
    """A version, a package folder or a model file: the package, its name in C and `name:version`."""
    from argosy.client.local import locate
    from argosy.embedded.code import as_identifier, identifier

    located = locate(ref)
    try:
        known = identifier(name or as_identifier(located.name, "model"))
        yield located.open(), known, f"{located.name}:{located.version}"
    finally:
        located.release()


def _write(output: Path, found: Mapping[str, bytes], as_json: bool) -> None:
    """Write them and print their paths and sizes."""
    from argosy.telemetry.export.files import write

    paths = write(output.expanduser().absolute(), dict(found))
    sizes = {str(path): len(data) for path, data in zip(paths, found.values(), strict=True)}
    emit(sizes, as_json, lambda: click.echo("\n".join(f"{size:>12,}  {path}" for path, size in sizes.items())))


def _why(found: Mapping[str, bytes]) -> None:
    """Say which engine answers, where it is not C."""
    import msgspec

    about = msgspec.json.decode(found["signature.json"])
    if why := about.get("why"):
        click.echo(f"over {about['engine']}: {why}", err=True)


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        json_option,
        click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to write to."),
        click.argument("ref", shell_complete=sources),
    ):
        function = option(function)
    return function


_name = click.option("--name", help="The name of the functions, in C.  [default: that of the model]")


@click.command()
@_options
@click.option("--name", help="The name of the function, in C.  [default: that of the model]")
@click.option("--max-flash", type=Bytes(), help="The flash there is, as in 64KiB.")
@click.option("--max-ram", type=Bytes(), help="The RAM there is, for static data and the stack.")
@click.option("--verify", is_flag=True, help="Compile it, and run its self-test here and on two emulated boards.")
def c(
    ref: str, output: Path, name: str | None, max_flash: int | None, max_ram: int | None, verify: bool, as_json: bool
) -> None:
    """Write a model as C99, for software without an operating system or beside one.

    REF is a version, a package folder or a model file. The function in NAME.c answers one row. It needs no malloc, no
    libc and no file. NAME_test.c replays the golden examples and ends with 0 if all are answered. report.txt says what
    the model takes of a device: measured where gcc or arm-none-eabi-gcc is installed, else estimated. What cannot be
    written in C is refused by name. JSON: the report.

    \b
    Example:
      argosy export c digits:1 -o digits --max-flash 64KiB --verify
      gcc -Os -c digits/digits.c
    """
    import msgspec

    from argosy.embedded.export import Options, export
    from argosy.telemetry.export.files import write

    with _opened(ref, name) as (package, known, model):
        found = export(package, known, model, Options(max_flash=max_flash, max_ram=max_ram, verify=verify))
    write(output.expanduser().absolute(), found.files)
    emit(msgspec.to_builtins(found.report), as_json, lambda: click.echo(found.files["report.txt"].decode(), nl=False))


_engine = click.option(
    "--engine",
    type=click.Choice(["auto", "c", "onnxruntime"]),
    default="auto",
    show_default=True,
    help="What answers: the model as C, or onnxruntime. auto: C where there is some.",
)
_folder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@_options
@_name
@_engine
@click.option("--onnxruntime", type=_folder, help="A folder with another libonnxruntime.so, as an unpacked wheel.")
@click.option(
    "--delegate", type=click.Choice(["openvino", "qnn"]), help="The provider of onnxruntime that has to take it all."
)
@click.option("--dry-run", is_flag=True, help="Print what would be written, and compile nothing.")
def lib(
    ref: str,
    output: Path,
    name: str | None,
    engine: str,
    onnxruntime: Path | None,
    delegate: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a model as a shared library with a C ABI.

    REF is a version, a package folder or a model file. lib/libNAME.so answers one row (NAME_predict) or many
    (NAME_predict_rows), from any number of threads at once. There is no Python in it. include/NAME.h and
    lib/pkgconfig/NAME.pc are for compilers, signature.json for other languages. The golden examples are replayed
    before anything is written. Needs gcc.

    A model of ONNX that has no C is answered by onnxruntime, whose library is put beside it; NAME_run takes tensors
    whose axes are free. With --delegate one provider of onnxruntime takes the whole model, or it is refused. JSON:
    path and size of each file.

    \b
    Example:
      argosy export lib digits:1 -o digits
      PKG_CONFIG_PATH=digits/lib/pkgconfig pkg-config --cflags --libs digits
    """
    from argosy.embedded.binaries import library, planned

    if delegate and engine == "c":
        raise click.UsageError("--delegate is one of onnxruntime: leave out --engine c")
    with _opened(ref, name) as (package, known, model):
        if dry_run:
            steps = planned(package, known, model, engine, onnxruntime, delegate)
            emit(steps, as_json, lambda: click.echo("\n".join(steps)))
        else:
            files = library(package, known, model, engine, onnxruntime, delegate)
            _why(files)
            _write(output, files, as_json)


@click.command()
@_options
@_name
def wasm(ref: str, output: Path, name: str | None, as_json: bool) -> None:
    """Write a model as one WebAssembly module, for wasmtime, Node or a browser.

    REF is a version, a package folder or a model file. model.wasm needs nothing of its host. It exports its memory,
    input(n) and output(n) (where the values of a row are), predict() and selftest(). signature.json says what they
    are. The golden examples are replayed where Node is installed. Needs emscripten. JSON: path and size of each file.

    \b
    Example:
      argosy export wasm digits:1 -o digits
    """
    import msgspec

    from argosy.embedded.binaries import module

    with _opened(ref, name) as (package, known, model):
        about, data = module(package, known, model)
        _write(output, {"model.wasm": data, "signature.json": msgspec.json.encode(about)}, as_json)


@click.command()
@_options
@_name
@_engine
@click.option("--onnxruntime-web", type=_folder, help="The folder of onnxruntime-web.  [default: where npm has it]")
def web(ref: str, output: Path, name: str | None, engine: str, onnxruntime_web: Path | None, as_json: bool) -> None:
    """Write a folder for a browser: the model as WebAssembly, a JavaScript module with types, a page.

    REF is a version, a package folder or a model file. Any static server can serve the folder. After the first load
    the page works without a network. It replays the golden examples before it takes a row. Needs emscripten.

    A model of ONNX that has no C is answered by onnxruntime-web, 14 MB that are copied from where npm has installed
    them; nothing is fetched. JSON: path and size of each file.

    \b
    Example:
      argosy export web digits:1 -o digits
      python -m http.server --directory digits
    """
    from argosy.embedded.web import web as folder

    with _opened(ref, name) as (package, known, model):
        files = folder(package, known, model, engine, onnxruntime_web)
        _why(files)
        _write(output, files, as_json)


@click.command()
@_options
def onnx(ref: str, output: Path, as_json: bool) -> None:
    """Write the ONNX file that a model serves from.

    REF is a version, a package folder or a model file. A model that was not converted is refused, with the reason.
    JSON: path and size of each file.

    \b
    Example:
      argosy export onnx digits:1 -o digits
    """
    from argosy.embedded.formats import onnx as written

    with _opened(ref) as (package, _, model):
        _write(output, written(package, model), as_json)


@click.command()
@_options
@click.option("--machine", type=click.Choice(["amd64", "arm"]), default="amd64", show_default=True, help="For which.")
def ort(ref: str, output: Path, machine: str, as_json: bool) -> None:
    """Write a model in onnxruntime's own format, for one kind of machine.

    REF is a version, a package folder or a model file. A session begins in half the time. required_operators.config is
    for a build of onnxruntime with no more than those. The golden examples are replayed if this is such a machine. The
    file needs the version of onnxruntime that wrote it, or a later one. JSON: path and size of each file.

    \b
    Example:
      argosy export ort digits:1 -o digits --machine arm
    """
    from argosy.embedded.formats import ort as written

    with _opened(ref) as (package, _, model):
        _write(output, written(package, model, machine), as_json)


@click.command()
@_options
def tflite(ref: str, output: Path, as_json: bool) -> None:
    """Write a network for LiteRT, which was TensorFlow Lite.

    REF is a version, a package folder or a model file. The program onnx2tf converts it, and the golden examples are
    replayed in LiteRT, row by row, before anything is written. JSON: path and size
    of each file.

    \b
    Example:
      argosy export tflite digits:1 -o digits
    """
    from argosy.embedded.formats import tflite as written

    with _opened(ref) as (package, _, model):
        _write(output, written(package, model), as_json)


@click.command()
@_options
def gguf(ref: str, output: Path, as_json: bool) -> None:
    """Write the GGUF files of a language model.

    REF is a version or a package folder. The files are cloned where the file system can, else copied. JSON: path and
    size of each file.

    \b
    Example:
      argosy export gguf gemma:1 -o gemma
    """
    from argosy.embedded.formats import gguf as found
    from argosy.store.copies import copy

    with _opened(ref) as (package, _, model):
        folder = output.expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        files = {folder / path.name: path for path in found(package, model)}
        copy(files, model, lambda said: click.echo(said, err=True))
        sizes = {str(path): path.stat().st_size for path in files}
        emit(sizes, as_json, lambda: click.echo("\n".join(f"{size:>12,}  {path}" for path, size in sizes.items())))


COMMANDS = (c, lib, wasm, web, onnx, ort, tflite, gguf)
