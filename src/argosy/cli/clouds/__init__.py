"""`argosy export sagemaker`, `vertex`, `azureml`, `cloudrun` and `kserve`: the files beside this one, filled in."""

import re
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import sources
from argosy.cli.output import emit
from argosy.spec.errors import InvalidArgument

PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:@+=-]*")
"""What may stand in a command without quotes."""


def files(place: str, facts: dict[str, Any]) -> dict[str, bytes]:
    """File → content: the same for the same facts. Raises InvalidArgument for what no command line should hold."""
    import jinja2
    import msgspec

    if odd := next((name for name, value in facts.items() if value and not PLAIN.fullmatch(str(value))), None):
        raise InvalidArgument(
            f"--{odd} '{str(facts[odd])[:80]}' must be letters, digits and '_./:@+=-', and begin with no '-'"
        )
    environment = jinja2.Environment(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.filters["json"] = lambda value: msgspec.json.encode(value).decode()
    found = sorted(resources.files(__name__).joinpath(place).iterdir(), key=lambda file: file.name)
    wanted = [file for file in found if facts.get("bucket") or file.name != "transform-job.json"]
    return {file.name: environment.from_string(file.read_text("utf-8")).render(facts).encode() for file in wanted}


def _export(
    place: str, ref: str, output: Path, image: str, name: str | None, as_json: bool, more: dict[str, Any]
) -> None:
    import msgspec

    from argosy.cli.curl import example
    from argosy.client.local import locate
    from argosy.packaging.package import check_tensors, open_package
    from argosy.telemetry.export.files import write

    located = locate(ref)
    try:
        package = check_tensors(open_package(located.folder))
        digest, row = located.digest or package.digest(), example(package)
    finally:
        located.release()
    plain = re.sub(r"[^a-z0-9]+", "-", (name or located.name).lower()).strip("-")[:40].rstrip("-")
    if not re.match("[a-z]", plain):
        raise InvalidArgument(f"the name '{plain}' must begin with a letter there: give one with --name")
    short = digest.partition(":")[2][:8]
    registry, _, path = image.partition("/")
    facts = dict(ref=ref, digest=digest, image=image, registry=registry, name=plain, short=f"v-{short}", **more)
    facts |= {"revision": f"{plain}-{short}", "runtime": f"argosy-{plain}", "repository": re.split("[@:]", path)[0]}
    found = files(place, facts)
    if row is not None:
        body = {"instances": [row]} if package.manifest.signature.batched else {"inputs": row}
        found["request.json"] = msgspec.json.encode(body) + b"\n"
    shown = [str(path) for path in sorted(write(output.expanduser().absolute(), found))]
    emit(shown, as_json, lambda: click.echo("\n".join(shown)))


def _command(place: str, title: str, options: dict[str, dict[str, Any]]) -> click.Command:
    def run(ref: str, output: Path, image: str, name: str | None, as_json: bool, **more: Any) -> None:
        _export(place, ref, output, image, name, as_json, more)

    needed = {name for name, one in options.items() if "default" not in one and not one.get("optional")}
    example = " ".join(f"--{name} {name.upper()}" for name in options if name in needed)
    run.__doc__ = f"""Write what deploys a version to {title}: files, and commands.sh, which a user reads and runs.

    FILE_OR_REF is what is in the image, as `argosy image build` made it. Files hold no secret, and are the same for the
    same version and options. JSON: a list of paths.

    \b
    Example:
      argosy export {place} digits:1 --image registry.example/digits:1 {example} -o {place}
    """
    decorators: list[Callable[[Any], Any]] = [
        click.argument("ref", metavar="FILE_OR_REF", shell_complete=sources),
        click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to write to."),
        click.option("--image", required=True, help="The image, where the place pulls it from."),
        click.option("--name", help="The name there; by default the model's."),
        *(
            click.option(
                f"--{name}", help=one["help"], required=name in needed, default=one.get("default"), show_default=True
            )
            for name, one in options.items()
        ),
        json_option,
    ]
    for decorate in reversed(decorators):
        run = decorate(run)
    return click.command(place, cls=Command)(run)


PLACES = tomllib.loads(resources.files(__name__).joinpath("places.toml").read_text("utf-8"))
COMMANDS = [_command(place, one["title"], one["options"]) for place, one in PLACES.items()]
