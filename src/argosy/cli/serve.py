"""`argosy serve`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command
from argosy.cli.completion import sources
from argosy.cli.output import pairs, progress
from argosy.cli.runtime import runtime_of, serving_options
from argosy.spec.package import ENGINES

if TYPE_CHECKING:
    from argosy.spec.address import Address


@click.command(cls=Command)
@click.argument("source", metavar="FILE_OR_REF", shell_complete=sources)
@click.option("--name", help="The name in URLs; by default the file's or the model's.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Serve gRPC here too.")
@click.option("--sample", type=click.Path(path_type=Path), help="Rows the model takes.")
@click.option("--engine", metavar="NAME", help=f"Instead of the one that the format gets: {', '.join(ENGINES)}, …")
@click.option("--trust", is_flag=True, help="Let a file or folder run code of its author: only what you would run.")
@click.option("--no-convert", is_flag=True, help="Keep a scikit-learn model as it is instead of making it ONNX.")
@serving_options
def serve(
    source: str, name: str | None, host: str, port: int, grpc_port: int | None, sample: Path | None, **given: Any
) -> None:
    """Serve one model in this process, without a platform: an endpoint in seconds. No key is asked for.

    FILE_OR_REF is a model file as `argosy push` takes it, a package folder, or a version of the store. On loopback it
    answers only to loopback names, so that no web page reaches it; with another --host, to every name.

    \b
    Example:
      argosy serve model.onnx
      argosy serve digits:1 --port 9000 --grpc-port 9001
      argosy serve model.joblib --sample rows.csv
    """
    import msgspec

    from argosy.client.local import locate
    from argosy.packaging.options import PushOptions
    from argosy.serving.config import ModelConfig, ReplicaConfig
    from argosy.serving.listener import bind
    from argosy.serving.server import run
    from argosy.spec.address import Address
    from argosy.spec.endpoint import check_name

    if name is not None:
        check_name(name, "model name")
    config = ReplicaConfig(
        models=(ModelConfig(name="", package=""),),
        http=Address(host=host, port=port),
        grpc=Address(host=host, port=grpc_port) if grpc_port is not None else None,
        runtime=runtime_of(given),
        log_level="warning",
    )
    for address in filter(None, (config.http, config.grpc)):
        bind(address)[0].close()
    options = PushOptions(
        sample=sample, engine=given["engine"] or "", trust=given["trust"], convert=not given["no_convert"]
    )
    with progress(f"Packaging {source}") as report:
        located = locate(source, options, report)
    model = ModelConfig(
        name=name or located.name,
        package=str(located.folder),
        version=located.version,
        digest=located.digest,
        trusted=located.trusted,
    )
    try:
        config = msgspec.structs.replace(config, models=(model,))
        run(config, lambda http, grpc: _announce(located.folder, model.name, http, grpc))
    finally:
        located.release()


def _announce(folder: Path, name: str, http: "Address", grpc: "Address | None") -> None:
    """Print where it is, what it takes, and calls to copy."""
    from argosy.cli.curl import calls
    from argosy.cli.show import tensor_line
    from argosy.packaging.package import open_package

    package = open_package(folder)
    signature = package.manifest.signature
    base = f"http://{http}"
    click.echo(f"{click.style(name, bold=True)} is ready; Ctrl-C stops it")
    rows = [
        ("url", f"{base}/v2/models/{name}/infer"),
        ("grpc", str(grpc) if grpc else ""),
        ("try it", f"{base}/docs"),
        ("engine", package.manifest.engine),
        ("inputs", "\n".join(map(tensor_line, signature.inputs))),
        ("outputs", "\n".join(map(tensor_line, signature.every_output))),
    ]
    pairs(rows)
    found = calls(package, base, name)
    for title, command in found:
        click.echo(f"\n{click.style(title, dim=True)}\n{command}")
    if not found:
        click.echo(f"\nargosy predict {name} --url {base} -d @rows.json")
