"""`argosy serve`."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from argosy.cli.base import Command
from argosy.cli.completion import sources
from argosy.cli.output import pairs, progress
from argosy.cli.runtime import ENGINE, language_options, runtime_of, serving_options
from argosy.serving.contracts import CONTRACTS
from argosy.spec.errors import InvalidArgument
from argosy.spec.package import ENGINES

if TYPE_CHECKING:
    from argosy.client.language import LanguageSource
    from argosy.serving.config import ReplicaConfig
    from argosy.serving.contracts import Binding
    from argosy.spec.address import Address
    from argosy.spec.language import Language


@click.command(cls=Command)
@click.argument("source", metavar="[FILE_OR_REF]", envvar="ARGOSY_SERVE_MODEL", required=False, shell_complete=sources)
@click.option("--name", envvar="ARGOSY_SERVE_NAME", help="The name in URLs; by default the file's or the model's.")
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1, or the contract's]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.  [default: 8000, or the contract's]")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Serve gRPC here too.  [default: the contract's]")
@click.option(
    "--contract",
    type=click.Choice(["auto", "none", *CONTRACTS]),
    default="auto",
    show_default=True,
    help="Answer what this place asks of a container; auto goes by the environment.",
)
@click.option("--sample", type=click.Path(path_type=Path), help="Rows the model takes.")
@click.option("--engine", metavar="NAME", help=f"Instead of the one that the format gets: {', '.join(ENGINES)}, …")
@click.option("--no-install", is_flag=True, help="Refuse a model whose requirements are not installed.")
@click.option(
    "--trust",
    is_flag=True,
    envvar="ARGOSY_SERVE_TRUST",
    help="Let a file or folder run code of its author: only what you would run.",
)
@click.option("--config", type=click.Path(path_type=Path), help="All of it, as `argosy export kubernetes` writes it.")
@click.option(
    "--no-convert",
    is_flag=True,
    help="Keep a model of scikit-learn, LightGBM or XGBoost as it is instead of making it ONNX.",
)
@language_options
@serving_options
def serve(
    source: str | None,
    name: str | None,
    host: str | None,
    port: int | None,
    grpc_port: int | None,
    contract: str,
    sample: Path | None,
    config: Path | None,
    **given: Any,
) -> None:
    """Serve one model in this process, without a platform: an endpoint in seconds. No key is asked for.

    FILE_OR_REF is a model file as `argosy push` takes it, a package folder, or a version of the store. On loopback it
    answers only to loopback names, so that no web page reaches it; with another --host, to every name.

    A language model (a GGUF file, a folder of safetensors, a version) is served by its engine alone, which answers
    OpenAI's API at the port, to every name: no Python is on the path of a token.

    What a trusted model requires and this environment lacks is installed into one of its own, by uv.

    In a container of SageMaker, Vertex AI, Azure ML, Cloud Run, Lambda, Hugging Face Endpoints or KServe it listens
    where that place asks it to, to every name, and answers the paths that it asks, beside all others. FILE_OR_REF may
    then be left out: the model is the one in the folder where the place has put it. An image sets what is not given
    by ARGOSY_SERVE_MODEL, _NAME, _HOST, _PORT and _GRPC_PORT; the last three give way to a contract.

    \b
    Example:
      argosy serve model.onnx
      argosy serve digits:1 --port 9000 --grpc-port 9001
      argosy serve model.joblib --sample rows.csv
      argosy serve digits:1 --contract sagemaker
      argosy serve gemma.gguf --context 8192 --slots 4
    """
    from argosy.client.serving import Serving, addresses, chosen
    from argosy.packaging.options import PushOptions
    from argosy.spec.endpoint import check_name

    if config is not None:
        _replica(config)
    if name is not None:
        check_name(name, "model name")
    if (found := _language(source, name, given)) is not None:
        base, _ = addresses(chosen(contract))
        _generate(*found, host or base.host, base.port if port is None else port, given)
        return
    binding = chosen(contract)
    settings = _settings(binding, host, port, grpc_port, given)
    engine, convert, install = given["engine"] or "", not given["no_convert"], not given["no_install"]
    options = PushOptions(sample=sample, engine=engine, trust=given["trust"], convert=convert, install=install)
    with Serving(name, settings, options, binding, install=install) as serving:
        with progress(f"Packaging {source or 'the model'}") as report:
            package = serving.prepare(source, report)
        serving.run(lambda http, grpc: _announce(package, serving.name, http, grpc, binding))


def _settings(
    binding: "Binding | None", host: str | None, port: int | None, grpc_port: int | None, given: dict[str, Any]
) -> "ReplicaConfig":
    """A replica at the addresses that are given, or those of the contract. Raises Conflict where one is taken."""
    from argosy.client.serving import addresses
    from argosy.serving.config import ReplicaConfig
    from argosy.serving.listener import bind
    from argosy.spec.address import Address

    base, grpc = addresses(binding)
    where = host or base.host
    grpc_port = grpc.port if grpc_port is None and grpc else grpc_port
    settings = ReplicaConfig(
        models=(),
        http=Address(host=where, port=base.port if port is None else port),
        grpc=Address(host=where, port=grpc_port) if grpc_port is not None else None,
        runtime=runtime_of(given, binding.runtime if binding else None),
        log_level="warning",
    )
    for address in filter(None, (settings.http, settings.grpc)):
        bind(address)[0].close()
    return settings


def _language(source: str | None, name: str | None, given: dict[str, Any]) -> "tuple[LanguageSource, Language] | None":
    """A language model with the settings that were given. Raises InvalidArgument for these with another model."""
    from argosy.client.language import language_source
    from argosy.spec.language import Language

    found = language_source(source, name)
    settings = {key: given[key] for key in ENGINE if given.get(key) is not None}
    if found is None and (settings or given["dry_run"]):
        raise InvalidArgument(f"{source or 'the model'} is no language model: leave out what is for these alone")
    return None if found is None else (found, Language(**settings))


def _generate(found: "LanguageSource", language: "Language", host: str, port: int, given: dict[str, Any]) -> None:
    """Run the engine of a language model at a port, and print where it is."""
    from argosy.client import language as models
    from argosy.console.words import size
    from argosy.serving.listener import bind
    from argosy.spec.address import Address

    runtime = runtime_of(given, None)
    bound, address = bind(Address(host=host, port=port))
    bound.close()
    setup = models.setup_of(found, address, language, runtime.threads)
    if given["dry_run"]:
        click.echo(models.dry_run(found.engine, setup))
        return

    def announce() -> None:
        about, base, used = found.about, f"http://{address}/v1", setup.language
        click.echo(f"{click.style(found.name, bold=True)} is ready; Ctrl-C stops it")
        rows: list[tuple[str, object]] = [
            ("url", base),
            ("engine", f"{found.engine}, {setup.threads} threads"),
            ("model", f"{about.architecture} {about.quantization}, {size(about.weights)}"),
            ("context", f"{used.context} tokens, {used.slots} at once"),
        ]
        pairs(rows)
        path = "chat/completions" if about.chat else "completions"
        asked = '"messages": [{"role": "user", "content": "Hello"}]' if about.chat else '"prompt": "Hello"'
        body = f'{{"model": "{found.name}", {asked}, "max_tokens": 64}}'
        click.echo(f"\ncurl {base}/{path} -H 'content-type: application/json' -d '{body}'")

    models.serve(found, setup, runtime.drain_timeout, announce)


def _replica(config: Path) -> NoReturn:
    """Run what a configuration file says. Raises InvalidArgument for anything beside it."""
    from argosy.serving.server import main

    with contextlib.suppress(OSError):
        if b'"language":' in config.read_bytes():  # only a replica of a language model is told such
            from argosy.language.replica import main

    context = click.get_current_context()
    given = [each for each in context.params if context.get_parameter_source(each) == ParameterSource.COMMANDLINE]
    if len(given) > 1:
        raise InvalidArgument("--config says all: give nothing beside it")
    sys.exit(main([str(config)]))


def _announce(
    folder: Path | None, name: str, http: "Address", grpc: "Address | None", binding: "Binding | None"
) -> None:
    """Print where it is, what it takes, and calls to copy."""
    from argosy.cli.curl import calls
    from argosy.cli.show import tensor_line
    from argosy.packaging.package import open_package

    base = f"http://{http}"
    contract: list[tuple[str, object]] = []
    if binding is not None:
        asked = [f"{method} {path}" for path, methods in binding.paths.items() for method in methods]
        contract = [("contract", f"{binding.contract.title}{f', by {binding.sign}' if binding.sign else ''}")]
        contract += [("paths", "\n".join(asked))]
    if folder is None:
        click.echo(f"ready; Ctrl-C stops it; models come by POST {base}/models")
        pairs(contract)
        return
    package = open_package(folder)
    signature = package.manifest.signature
    click.echo(f"{click.style(name, bold=True)} is ready; Ctrl-C stops it")
    rows: list[tuple[str, object]] = [
        ("url", f"{base}/v2/models/{name}/infer"),
        ("grpc", str(grpc) if grpc else ""),
        ("openai", f"OPENAI_BASE_URL={base}/v1" if package.manifest.language else ""),
        *contract,
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
