import errno
import os
import signal
import subprocess
import sys

import click
import msgspec
import pytest

from argosy.cli import base
from argosy.cli.catalog import COMMANDS
from argosy.spec import errors

GROUPS = (
    "registry",
    "image",
    "keys",
    "rollout",
    "simulate",
    "feedback",
    "export",
    "batch",
    "models",
    "alerts",
    "fleet",
    "regions",
    "hosts",
    "supply",
    "plans",
)


def argosy(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "argosy", *args], capture_output=True, text=True, timeout=60, check=False, **kwargs
    )


def test_help_lists_every_command(run):
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.stdout
    assert run().stdout == result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0, result.stderr
    assert "Example:" in result.stdout
    assert f"argosy {name}" in result.stdout
    assert "--debug" in result.stdout or name in GROUPS


@pytest.mark.parametrize("name", COMMANDS)
def test_catalog_says_what_the_command_says(name):
    command = COMMANDS[name].load(name)
    assert isinstance(command, click.Command)
    assert command.name == name


def test_unknown_command_offers_the_nearest(run):
    result = run("modles")
    assert result.exit_code == 2
    assert "there is no command 'modles'; did you mean 'models'" in result.stderr
    assert "try 'argosy --help'" in result.stderr


def test_unknown_option_offers_the_nearest(run):
    result = run("version", "--jsn")
    assert result.exit_code == 2
    assert "'--json'" in result.stderr


def test_missing_argument_is_a_line(run):
    result = run("models", "show")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: missing argument")


def test_errors_as_json(run):
    result = run("models", "show", "nothing", "--json")
    assert result.exit_code == errors.NotFound.exit
    assert msgspec.json.decode(result.stderr) == {
        "error": "no model is named 'nothing'; nothing has been pushed yet",
        "code": "not_found",
    }
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Untrusted("x"), "untrusted"),
        (click.UsageError("x"), "invalid_argument"),
        (OSError(errno.ENOSPC, "no space", "/f"), "storage_full"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/f"), "not_found"),
        (PermissionError(errno.EACCES, "Permission denied", "/f"), "invalid_argument"),
        (ZeroDivisionError("x"), "internal"),
    ],
)
def test_translate(error, code):
    assert base.translate(error).code == code


@pytest.mark.parametrize("debug", [True, False])
def test_a_traceback_only_with_debug(run, monkeypatch, debug):
    def broken():
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr("argosy.cli.models.store", broken)
    result = run("models", "ls", *(["--debug"] if debug else []))
    assert result.exit_code == 1
    assert ("Traceback" in result.stderr) is debug
    assert "error: this is a bug in argosy: ZeroDivisionError: surprise" in result.stderr


def test_a_group_alone_shows_its_help(run):
    result = run("keys")
    assert result.exit_code == 2
    assert "argosy keys create" in result.stderr
    assert "error" not in result.stderr


def test_version(run):
    import argosy as package

    assert f"argosy       {package.__version__}" in run("version").stdout
    assert msgspec.json.decode(run("version", "--json").stdout)["argosy"] == package.__version__
    assert run("--version").stdout == f"argosy {package.__version__}\n"


def test_broken_pipe_is_quiet():
    done = subprocess.run(
        f"{sys.executable} -m argosy --help | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "0"
    assert done.stderr == ""


def test_interrupt_is_130(place):
    (place.logs / "gateway.log").write_text("a\n")
    command = [sys.executable, "-m", "argosy", "logs", "-f", "gateway"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout.readline() == b"a\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read().strip() == b""


@pytest.mark.parametrize("code", ["import argosy", "import argosy.cli.main, argosy.cli.doctor, argosy.client.control"])
def test_nothing_heavy_is_imported(code):
    heavy = "numpy httpx rich sqlalchemy onnxruntime pandas sklearn uvicorn grpc starlette"
    check = f"import sys; print([name for name in {heavy.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}; {check}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
