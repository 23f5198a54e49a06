"""An image of a small model, built once a session as a user would."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from argosy.images import debian
from argosy.spec.errors import ArgosyError
from tests.cli.models import linear


def need_debian() -> None:
    """Skip where the packages of the base cannot be had."""
    try:
        debian.check_release(debian.RELEASE)
    except ArgosyError as error:
        pytest.skip(error.message)
    if not shutil.which("setarch"):
        pytest.skip("util-linux is not installed")


def argosy(*arguments: str, home: Path, **environ: str) -> str:
    """Run the command. Skips where packages could not be downloaded."""
    command = [sys.executable, "-m", "argosy", *arguments]
    given = os.environ | {"ARGOSY_HOME": str(home)} | environ
    ran = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    if "error:" in ran.stderr and ("apt-get" in ran.stderr or "uv could not get" in ran.stderr):
        pytest.skip(f"packages of the image cannot be downloaded: {ran.stderr[-300:]}")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


class Layout:
    """An OCI layout, read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = json.loads((folder / "index.json").read_bytes())

    def blob(self, digest: str) -> bytes:
        return (self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()

    def json(self, digest: str):
        return json.loads(self.blob(digest))


@pytest.fixture(scope="session")
def package(cached_home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A version of the store."""
    pytest.importorskip("onnx")
    model = linear(tmp_path_factory.mktemp("model") / "linear.onnx", weight=2.0)
    argosy("push", str(model), "--name", "linear", home=cached_home)
    return "linear:1"


@pytest.fixture(scope="session")
def layout(package: str, cached_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The image of the model, for this machine."""
    need_debian()
    folder = tmp_path_factory.mktemp("image") / "oci"
    argosy("image", "build", package, "-o", f"oci:{folder}", home=cached_home)
    return Layout(folder)


def unpack(layout: Layout, into: Path) -> dict:
    """What a container runtime does. Returns the configuration."""
    manifest = layout.json(layout.index["manifests"][0]["digest"])
    for layer in manifest["layers"]:
        blob = layout.blob(layer["digest"])
        archive = (
            pytest.importorskip("zstandard").ZstdDecompressor().decompressobj().decompress(blob)
            if "zstd" in layer["mediaType"]
            else gzip.decompress(blob)
        )
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            opened.extractall(into, filter="tar")
    return layout.json(manifest["config"]["digest"])


@pytest.fixture(scope="session")
def root(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The image as a container runtime lays it out, and its configuration."""
    into = tmp_path_factory.mktemp("container") / "root"
    into.mkdir()
    into.parent.parent.chmod(0o755)
    into.parent.chmod(0o755)
    return into, unpack(layout, into)
