"""Nothing that lies in a working folder is imported by what the platform starts."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import argosy
from argosy.process import launch, sandbox

ROOT = Path(argosy.__file__).parent
NAMES = ("json", "argosy", "numpy", "sitecustomize", "usercustomize", "runpy", "asyncio", "msgspec", "ctypes", "struct")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with modules that leave a mark; it is also named by relative paths of the environment."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'a').write({name!r})\n")
    (tmp_path / "evil.pth").write_text(f"import os; open({str(tmp_path / 'sprung')!r}, 'a').write('pth')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".:")
    monkeypatch.setenv("PYTHONSTARTUP", "json.py")
    return tmp_path


@pytest.mark.parametrize("module", ["json.tool", "argosy.serving"])
@pytest.mark.parametrize("kind", ["ours", "model"])
def test_a_child_imports_nothing_from_where_it_is_started_or_works(trap: Path, module: str, kind: str):
    policy = sandbox.Policy(writes=(str(trap),))
    made = launch.ours(module, folder=trap) if kind == "ours" else launch.model(module, folder=trap, policy=policy)
    done = subprocess.run(made.command, env=made.environ, input="{}", capture_output=True, text=True, check=False)
    assert not (trap / "sprung").exists(), (trap / "sprung").read_text()
    assert ("usage" in done.stderr) or done.stdout == "{}\n", done.stderr


def test_packages_of_a_model_come_after_the_standard_library_and_before_ours(tmp_path: Path):
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("json", "psutil"):
        (packages / f"{name}.py").write_text("raise SystemExit(f'{__name__} of the model')\n")
    (packages / "own.py").write_text(
        "import json, sys; print(json.dumps(list(sys.modules)), flush=True); import psutil"
    )
    policy = sandbox.Policy(reads=(str(packages),), writes=(str(tmp_path),))
    made = launch.model("own", folder=tmp_path, policy=policy, more={sandbox.PACKAGES: str(packages)})
    done = subprocess.run(made.command, env=made.environ, capture_output=True, text=True, check=False)
    assert "argosy.process.sandbox" in done.stdout, done.stderr
    assert done.stderr == "psutil of the model\n"


def test_every_start_of_python_goes_through_the_launcher():
    """`sys.executable` in a command is the launcher's alone; a trigger's PATH only names its folder, a check of
    `argosy doctor` and a hint to install something print it, uv is told for which interpreter it installs,
    `argosy serve` begins again as it was begun, and vLLM's command goes to the launcher, unless it is only shown."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "executable" and ast.unparse(node.value) == "sys"
    }
    starts = {"process/launch.py", "process/sandbox.py"}
    allowed = starts | {"alerting/triggers/command.py", "cli/checks.py", "spec/install.py"}
    allowed |= {"packaging/environment.py", "client/serving.py", "engines/language/vllm.py"}
    assert found <= allowed, found - allowed


def test_python_m_argosy_imports_nothing_from_where_it_is_started(trap: Path):
    """Its own name aside, which only -P can keep from being found there."""
    (trap / "argosy.py").unlink()
    subprocess.run([sys.executable, "-m", "argosy", "--version"], env={"PATH": ""}, check=True, capture_output=True)
    assert not (trap / "sprung").exists(), (trap / "sprung").read_text()
