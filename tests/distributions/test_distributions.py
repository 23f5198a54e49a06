"""The distributions of this repository: their versions, their commands, and what is said where they are missing."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from argosy import __version__
from argosy.cli.catalog import COMMANDS, ENTRY_POINTS
from argosy.spec import install
from argosy.spec.errors import MissingExtra

ROOT = Path(__file__).parents[2]
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text())["project"] for path in ROOT.glob("distributions/*/pyproject.toml")
}
COMMANDS_OUTSIDE = {name: entry.distribution for name, entry in COMMANDS.items() if entry.distribution}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Environment of a Python that has argosy and all that it needs, and none of the distributions."""
    packages = tmp_path_factory.mktemp("bare")
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if not each.name.startswith("argosy_") and each.suffix != ".pth":
            (packages / each.name).symlink_to(each)
    return os.environ | {"PYTHONPATH": f"{packages}:{ROOT / 'src'}"}


def argosy(environ, *words):
    """`argosy WORDS` in an environment, without the packages of this one."""
    command = [sys.executable, "-S", "-m", "argosy", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_distribution_is_of_argosys_version_and_needs_just_that_but_for_the_agent_of_devices(name):
    project = PROJECTS[name]
    assert project["name"] == f"argosy-{name}"
    assert project["version"] == __version__
    pins = [need for need in map(Requirement, project["dependencies"]) if need.name == "argosy"]
    assert [str(need.specifier) for need in pins] == ([] if name == "edge" else [f"=={__version__}"])


def test_no_extra_of_argosy_names_a_distribution_beside_it():
    """An index that has argosy need not have them, and `pip install .[…]` in a checkout does not find them."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needs = {Requirement(text).name for extra in extras.values() for text in extra}
    assert not needs & {*COMMANDS_OUTSIDE.values()}


def test_the_catalog_names_the_distributions_whose_entry_points_are_the_commands():
    declared = {
        name: project["name"]
        for project in PROJECTS.values()
        for name in project.get("entry-points", {}).get(ENTRY_POINTS, ())
    }
    assert declared == COMMANDS_OUTSIDE
    assert {point.name for point in entry_points(group=ENTRY_POINTS)} == set(declared)


@pytest.mark.parametrize(("name", "distribution"), COMMANDS_OUTSIDE.items())
def test_a_missing_distribution_is_named_with_the_command_that_installs_it(bare, name, distribution):
    done = argosy(bare, name, "--help")
    assert done.returncode == MissingExtra.exit, done.stderr
    assert f"run  pip install {install.beside(distribution, __version__)}" in done.stderr
    assert done.stdout == ""
    assert msgspec.json.decode(argosy(bare, name, "--json").stderr)["code"] == MissingExtra.code


def test_without_the_distributions_all_else_goes_on(bare):
    assert argosy(bare, "version").returncode == 0
    helped = argosy(bare, "--help").stdout
    assert all(f"  {name} " in helped for name in COMMANDS)
    assert "did you mean 'demo'" in argosy(bare, "dmo").stderr
    completing = bare | {"_ARGOSY_COMPLETE": "bash_complete", "COMP_WORDS": "argosy de", "COMP_CWORD": "1"}
    completed = argosy(completing)
    assert "deploy" in completed.stdout
    assert "Traceback" not in completed.stderr
