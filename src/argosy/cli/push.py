"""`argosy push`."""

from pathlib import Path
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import actor, store
from argosy.cli.output import emit, progress
from argosy.spec.package import ENGINES

FILE = click.Path(path_type=Path)


@click.command(cls=Command)
@click.argument("source", type=FILE)
@click.option("--name", required=True, help="The model's name; its next version is made.")
@click.option("--sample", type=FILE, help="Rows the model takes: .json, .csv, .parquet, .npy, .npz.")
@click.option("--engine", metavar="NAME", help=f"Instead of the one that the format gets: {', '.join(ENGINES)}, …")
@click.option(
    "--trust", is_flag=True, help="Let it run code of its author although the scan objects: only what you would run."
)
@click.option("--requirements", type=FILE, help="A requirements.txt the model needs.")
@click.option("--license", "license_", default="", help="SPDX identifier, for example Apache-2.0, or a licence file.")
@click.option("--description", default="", help="One line about the model.")
@click.option("--alias", help="Also point NAME@ALIAS at the new version.")
@click.option("--no-convert", is_flag=True, help="Keep a scikit-learn model as it is instead of making it ONNX.")
@click.option("--atol", type=click.FloatRange(min=0), help="Absolute tolerance of golden outputs.")
@click.option("--rtol", type=click.FloatRange(min=0), help="Relative tolerance of golden outputs.")
@json_option
def push(source: Path, name: str, alias: str | None, as_json: bool, **given: Any) -> None:
    """Package a model file or folder and register it as the next version of NAME.

    Takes ONNX, scikit-learn (skops, joblib, pickle), XGBoost and LightGBM files, MLflow folders, torch.export programs,
    and Python files with a class that has load and predict. The same file gives the same version again. JSON: {ref,
    name, number, digest, size, engine, created, aliases, conversion, scan}.

    \b
    Example:
      argosy push model.joblib --name digits --sample x.parquet
      argosy push model.onnx --name digits --alias champion
    """
    from argosy.cli.models import brief
    from argosy.packaging.options import PushOptions
    from argosy.packaging.push import push as package
    from argosy.packaging.requirements import read as read_requirements
    from argosy.spec.package import Tolerance
    from argosy.store.ledger import Cause

    options = PushOptions(
        sample=given["sample"],
        engine=given["engine"] or "",
        trust=given["trust"],
        requirements=read_requirements(given["requirements"]) if given["requirements"] else (),
        license=given["license_"],
        description=given["description"],
        convert=not given["no_convert"],
        tolerance=Tolerance(**{bound: given[bound] for bound in ("atol", "rtol") if given[bound] is not None}),
    )
    with store() as place:
        with progress(f"Packaging {source.name}") as report:
            version = package(source, name=name, store=place, options=options, report=report)
        if alias:
            cause = Cause(actor=actor(), reason="pushed")
            version = place.registry.set_alias(version.name, alias, version.number, cause)
    conversion = version.manifest.conversion

    def render() -> None:
        click.echo(f"{click.style(version.ref, bold=True)}  {version.digest}")
        if conversion.source != version.engine or not conversion.converted:
            click.echo(f"engine {version.engine}: {conversion.reason}")
        click.echo(f"deploy it with  argosy deploy {version.ref}")

    emit(brief(version) | {"conversion": conversion, "scan": version.manifest.scan}, as_json, render)
