"""The Dockerfile of a model: read as its builders do, without one of them here."""

import io
import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from argosy.images.build import Builder, ImageModel, ImageOptions, environ_of
from argosy.images.dockerfile import argosy_wheel, quoted, write_context
from argosy.images.image import settings_of
from argosy.packaging.package import open_package
from argosy.spec.errors import Conflict, Untrusted
from argosy.spec.settings import Home
from tests.images.conftest import argosy


def _read(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: name and what follows, lines that go on joined."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def _values(instructions: list[tuple[str, str]], kind: str) -> dict[str, str]:
    return dict(shlex.split(rest)[0].split("=", 1) for name, rest in instructions if name == kind)


@pytest.fixture(scope="module")
def context(package: str, cached_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dockerfile") / "context"
    argosy("image", "dockerfile", package, "-o", str(folder), "--grpc", home=cached_home)
    return folder


@pytest.fixture
def model(package: str, context: Path) -> ImageModel:
    """What is in the context, as the builder has it."""
    opened = open_package(context / "model", trusted=False)
    return ImageModel(package=opened, name="linear", version="1", digest=opened.digest())


def test_the_context_is_what_the_dockerfile_names(context: Path):
    instructions = _read((context / "Dockerfile").read_text())
    copied = [rest.split()[0] for name, rest in instructions if name == "COPY"]
    assert copied == ["serve.txt", "grpc.txt", next(context.glob("*.whl")).name, "model/"]
    assert {path.name for path in context.iterdir()} == {"Dockerfile", *(each.rstrip("/") for each in copied)}
    for name, rest in instructions:
        for path in re.findall(r"/tmp/\S+", rest) if name == "RUN" else ():
            assert Path(path).name in copied


def test_each_download_is_checked_against_a_digest(context: Path):
    runs = [rest for name, rest in _read((context / "Dockerfile").read_text()) if name == "RUN" and "pip " in rest]
    assert len(runs) == 3
    assert all("--require-hashes" in run or "--no-index" in run for run in runs)
    for lock in context.glob("*.txt"):
        for block in re.split(r"\n(?=\S)", lock.read_text().strip()):
            assert re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", block, re.DOTALL), block


def test_a_container_runs_as_one_of_an_image(context: Path, model: ImageModel):
    instructions = _read((context / "Dockerfile").read_text())
    found, environ = dict(instructions), environ_of(model, (8080, 8081))
    wanted = settings_of(environ, {}, (8080, 8081))
    assert json.loads(found["ENTRYPOINT"]) == wanted["Entrypoint"]
    assert json.loads(found["CMD"]) == wanted["Cmd"]
    assert (found["USER"], found["WORKDIR"]) == (wanted["User"], wanted["WorkingDir"])
    assert found["EXPOSE"].split() == list(wanted["ExposedPorts"])
    assert _values(instructions, "ENV").items() >= environ.items()
    assert _values(instructions, "LABEL")["dev.argosy.model.digest"] == model.digest
    assert "COPY model/ /models/" in (context / "Dockerfile").read_text()


def test_the_base_is_an_argument_without_a_registry(context: Path):
    base, from_ = _read((context / "Dockerfile").read_text())[:2]
    assert base[0] == "ARG"
    assert re.fullmatch(r"BASE=python:[\w.-]+", base[1])
    assert from_ == ("FROM", "${BASE}")


def test_the_same_bytes_from_another_umask(package: str, context: Path, cached_home: Path, tmp_path: Path):
    again = tmp_path / "again"
    command = ["sh", "-c", f"umask 077; {sys.executable} -m argosy image dockerfile {package} -o {again} --grpc"]
    environ = {"ARGOSY_HOME": str(cached_home), "TZ": "Pacific/Kiritimati", "PATH": "/usr/bin:/bin"}
    subprocess.run(command, env=environ, check=True, capture_output=True)

    def read(folder: Path) -> dict[str, tuple[int, bytes]]:
        return {
            path.relative_to(folder).as_posix(): (path.stat().st_mode, b"" if path.is_dir() else path.read_bytes())
            for path in [folder, *folder.rglob("*")]
        }

    assert read(again) == read(context)


def test_the_wheel_is_one(tmp_path: Path):
    data = argosy_wheel()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names, record = set(archive.namelist()), next(n for n in archive.namelist() if n.endswith("/RECORD"))
        listed = {line.split(",")[0] for line in archive.read(record).decode().splitlines()}
    assert names == listed
    assert {"argosy/cli/main.py", "argosy/images/locks/serve.txt"} <= names
    (tmp_path / "argosy-0.1.0-py3-none-any.whl").write_bytes(data)
    uv = pytest.importorskip("uv").find_uv_bin()
    command = [uv, "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(tmp_path / "into")]
    subprocess.run([*command, str(tmp_path / "argosy-0.1.0-py3-none-any.whl")], check=True)
    assert "argosy.cli.main" in (tmp_path / "into" / "bin" / "argosy").read_text()


def test_what_a_model_requires_goes_into_a_folder_of_its_own(
    context: Path, model: ImageModel, tmp_path: Path, monkeypatch
):
    lock = "skops==0.12.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    monkeypatch.setattr("argosy.packaging.environment.lock_of", lambda home, needs, report: lock)
    model.package.manifest = msgspec.structs.replace(
        model.package.manifest, engine="sklearn", requirements=("skops==0.12.0",)
    )
    with pytest.raises(Untrusted):
        write_context(Builder(Home(tmp_path), ImageOptions()), model, tmp_path / "context")
    model.package.trusted = True
    write_context(Builder(Home(tmp_path), ImageOptions()), model, tmp_path / "context")
    text = (tmp_path / "context" / "Dockerfile").read_text()
    assert "--target /opt/requirements --require-hashes --only-binary :all: -r /tmp/requirements.txt" in text
    assert _values(_read(text), "ENV")["PYTHONPATH"] == "/opt/requirements"
    assert (tmp_path / "context" / "requirements.txt").read_text() == lock


def test_a_folder_that_holds_something_is_left_alone(model: ImageModel, tmp_path: Path):
    there = tmp_path / "there"
    there.mkdir()
    (there / "precious").touch()
    with pytest.raises(Conflict, match="is not empty"):
        write_context(Builder(Home(tmp_path), ImageOptions()), model, there)
    assert [path.name for path in there.iterdir()] == ["precious"]


def test_nothing_in_a_value_is_expanded():
    assert quoted('a $HOME "b" \\ c\nRUN d') == '"a \\$HOME \\"b\\" \\\\ c RUN d"'
