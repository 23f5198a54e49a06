"""`argosy init` and `argosy schema`: a declaration to begin with, and what editors check it by."""

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import click

from argosy import spec
from argosy.cli.base import Command
from argosy.cli.completion import references
from argosy.cli.here import store
from argosy.spec.errors import Conflict, InvalidArgument, NotFound

SCHEMA = "endpoint.schema.json"
EXPANDED = ("resources", "runtime", "limits")
"""Sections that are written out field by field."""
EXAMPLES = {
    "rollout": "{strategy: canary, steps: [{weight: 10, requests: 200}, {weight: 50, requests: 200}]}",
    "guard": "{margin: 0.005, latency_margin: 1.25}",
    "language": "{context: 8192, slots: 4}",
    "price": "{input: 0.05, output: 0.2, currency: EUR}",
    "payload": "{sample: 1.0, keep_days: 30}",
    "monitor": "{season: week}",
    "triggers": "[]",
    "slos": "[{objective: 0.999, latency: 0.1}]",
    "keys": "[{name: mobile-app, requests_per_second: 100}]",
}
"""What says more than the default."""


@click.command(cls=Command)
@click.argument("model", required=False, shell_complete=references)
@click.option("--name", help="The endpoint's name.  [default: the model's]")
@click.option("-o", "--output", default="endpoint.yaml", show_default=True, help="The file; - is standard output.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(model: str | None, name: str | None, output: str, force: bool) -> None:
    """Write a commented endpoint.yaml: a declaration to begin with.

    MODEL is name, name:version or name@alias; a name alone means its latest version. Without it, the one model there
    is. All that can be declared stands in the file, commented out where it has a default. Beside it lies
    endpoint.schema.json, by which editors complete and check it.

    \b
    Example:
      argosy init digits
      argosy init digits@champion --name prod -o prod.yaml
      argosy apply -f endpoint.yaml
    """
    from argosy.spec.endpoint import Endpoint

    ref, known = _reference(model)
    text = declaration(name or ref.partition("@")[0].partition(":")[0], ref)
    if output == "-":
        click.echo(text, nl=False)
        return
    path = Path(output)
    if path.exists() and not force:
        raise Conflict(f"{path} is there already: write another with --output, or over it with --force")
    path.write_text(text)
    path.with_name(SCHEMA).write_text(_encoded(Endpoint))
    click.echo(f"{path} declares {ref}; {path.with_name(SCHEMA)} is its schema, for editors")
    if not known:
        click.echo(f"there is no {ref} yet: make it with  argosy push FILE --name {ref.partition(':')[0]}")
    click.echo(f"see what it does with  argosy plan -f {path};  do it with  argosy apply -f {path}")


def _reference(model: str | None) -> tuple[str, bool]:
    """What to serve, and whether the registry has it. Raises InvalidArgument where nothing says which."""
    with store() as place:
        if model is None:
            names = [one.name for one in place.registry.models()]
            if len(names) != 1:
                which = f"one of {', '.join(names[:10])}" if names else "and push it before or after"
                raise InvalidArgument(f"name the model: {which}, as in  argosy init {(names or ['digits'])[0]}")
            model = names[0]
        try:
            found = place.registry.resolve(model)
        except NotFound:
            return (model if ":" in model or "@" in model else f"{model}:1"), False
        return (model if "@" in model or model.startswith("sha256:") else found.ref), True


def declaration(name: str, model: str) -> str:
    """A file that `argosy apply` takes, each line of it explained."""
    from argosy.spec.endpoint import Endpoint, check_name

    check_name(name, "endpoint name")
    given = {"name": name, "model": model}
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        "# See what it would change with  argosy plan -f FILE,  and do it with  argosy apply -f FILE.",
        "# To change a setting, remove the # before it; in a section, the # before the section's name as well.",
        *_lines(Endpoint, given),
    ]
    return "\n".join(lines) + "\n"


def _lines(kind: Any, given: dict[str, str]) -> Iterator[str]:
    import msgspec

    for field in msgspec.structs.fields(kind):
        yield from ("", f"# {descriptions()[kind.__name__][field.name]}")
        if field.name in given:
            yield f"{field.name}: {given[field.name]}"
        elif field.name in EXPANDED:
            yield f"#{field.name}:"
            about = descriptions()[field.type.__name__]
            for each, value in msgspec.to_builtins(field.default).items():
                setting = f"  {each}: {_yaml(value)}"
                yield f"#{setting:32}  # {about[each]}"
        else:
            yield f"#{field.name}: {EXAMPLES.get(field.name) or _yaml(msgspec.to_builtins(field.default))}"


def _yaml(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n").strip()


@cache
def descriptions() -> dict[str, dict[str, str]]:
    """Class → field → its sentence."""
    return tomllib.loads(Path(spec.__file__).with_name("descriptions.toml").read_text())


def json_schema(kind: type[Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what users declare; each field with its sentence."""
    import msgspec

    (found,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for name, part in cast("dict[str, dict[str, Any]]", parts).items():
        part.pop("description", None)
        for field, value in part.get("properties", {}).items():
            if about := descriptions().get(name, {}).get(field):
                value["description"] = about
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "$defs": parts}


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(["endpoint", "config", "deployment"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of a declaration (endpoint), of config.yaml in the home (config) or of what
    `argosy fleet deploy -f` takes (deployment), for editors.

    An editor with a YAML language server takes it by a first line such as
    `# yaml-language-server: $schema=endpoint.schema.json`.

    \b
    Example:
      argosy schema endpoint > endpoint.schema.json
      argosy schema config > ~/.argosy/config.schema.json
    """
    from argosy.spec.endpoint import Endpoint
    from argosy.spec.fleet import Deployment
    from argosy.spec.settings import Settings

    kinds: dict[str, type[Any]] = {"endpoint": Endpoint, "config": Settings, "deployment": Deployment}
    click.echo(_encoded(kinds[kind]), nl=False)


def _encoded(kind: type[Any]) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(json_schema(kind)), indent=2).decode() + "\n"
