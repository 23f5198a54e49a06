"""Images as a user builds and runs them. Downloads are cached by uv and in ~/.cache/argosy."""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import pytest

from tests import ports
from tests.cli.models import linear
from tests.images.conftest import Layout, argosy, need_debian
from tests.store.oci.live import Registry

zstandard = pytest.importorskip("zstandard")
SEPARATE = ("unshare", "--mount")


def _unpack(layout: Layout, into: Path) -> dict:
    """What a container runtime does. Returns the configuration."""
    manifest = layout.json(layout.index["manifests"][0]["digest"])
    for layer in manifest["layers"]:
        blob = layout.blob(layer["digest"])
        archive = (
            zstandard.ZstdDecompressor().decompressobj().decompress(blob)
            if "zstd" in layer["mediaType"]
            else gzip.decompress(blob)
        )
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            opened.extractall(into, filter="tar")
    return layout.json(manifest["config"]["digest"])


@pytest.fixture(scope="session")
def root(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    into = tmp_path_factory.mktemp("container") / "root"
    into.mkdir()
    into.parent.parent.chmod(0o755)
    into.parent.chmod(0o755)
    return into, _unpack(layout, into)


def test_the_image_is_one_that_everybody_can_verify(layout: Layout):
    manifest = layout.json(layout.index["manifests"][0]["digest"])
    config = layout.json(manifest["config"]["digest"])
    assert layout.index["manifests"][0]["platform"]["os"] == "linux"
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Entrypoint"] == ["argosy"]
    assert config["config"]["Cmd"] == ["serve"]
    assert len(config["rootfs"]["diff_ids"]) == len(config["history"]) == len(manifest["layers"]) == 5
    assert manifest["annotations"] == config["config"]["Labels"]


def test_nothing_is_in_it_that_no_server_needs(root: tuple[Path, dict]):
    place, _ = root
    found = {path.relative_to(place).as_posix() for path in place.rglob("*")}
    names = {Path(path).name for path in found}
    assert not names & {"sh", "bash", "dash", "busybox", "tests", "uv", "pip"}
    assert not [name for name in names if name.startswith("libonnxruntime.so") or name.endswith((".h", ".pyi"))]
    assert [path for path in found if path.endswith("argosy/serving/__pycache__/server.cpython-311.pyc")]
    others = [path for path in place.rglob("*") if not path.is_symlink() and not path.stat().st_mode & 0o004]
    assert not others


def test_skopeo_reads_it(layout: Layout):
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed: `make apt` does it on Debian")
    ran = subprocess.run(["skopeo", "inspect", f"oci:{layout.folder}"], capture_output=True, check=False, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["Architecture"] in ("amd64", "arm64")


@pytest.mark.parametrize("user", [65532, 0, 12345])
def test_it_answers_as_any_user_on_a_root_that_is_read_only(root: tuple[Path, dict], user: int):
    place, config = root
    if os.getuid() or subprocess.run([*SEPARATE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root and mount namespaces, as in a container that may mount")
    port = ports.free()
    environ = dict(each.split("=", 1) for each in config["config"]["Env"]) | {"ARGOSY_SERVE_PORT": str(port)}
    mount = 'mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount -o remount,ro,bind "$0" && exec "$@"'
    enter = [
        "chroot",
        f"--userspec={user}:{user}",
        str(place),
        *config["config"]["Entrypoint"],
        *config["config"]["Cmd"],
    ]
    command = [*SEPARATE, "sh", "-c", mount, str(place), *enter]
    with subprocess.Popen(
        command,
        env=environ | {"PATH": f"{environ['PATH']}:/usr/sbin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = next((line for line in process.stdout if "is ready" in line), None)
            assert said, f"it ended with {process.wait()}"
            body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]})
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/linear/infer", body.encode())
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert json.loads(answer.read())["outputs"][0]["data"] == [12.0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def test_a_change_of_the_model_makes_one_layer(layout: Layout, cached_home: Path, tmp_path: Path):
    model = linear(tmp_path / "linear.onnx", weight=3.0)
    argosy("push", str(model), "--name", "linear", home=cached_home)
    argosy("image", "build", "linear:2", "-o", f"oci:{tmp_path / 'oci'}", home=cached_home)
    before, after = (
        [each["digest"] for each in one.json(one.index["manifests"][0]["digest"])["layers"]]
        for one in (layout, Layout(tmp_path / "oci"))
    )
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]


def test_a_folder_that_holds_something_else_is_left_alone(
    package: str, layout: Layout, cached_home: Path, tmp_path: Path
):
    (tmp_path / "precious").touch()
    command = [sys.executable, "-m", "argosy", "image", "build", package, "-o", f"oci:{tmp_path}"]
    ran = subprocess.run(
        command, env=os.environ | {"ARGOSY_HOME": str(cached_home)}, capture_output=True, text=True, check=False
    )
    assert "is no OCI layout" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.slow
def test_the_same_bytes_from_another_folder_umask_and_time_zone(package: str, layout: Layout, tmp_path: Path):
    home, model = tmp_path / "home", linear(tmp_path / "linear.onnx", weight=2.0)
    before = os.umask(0o077)
    try:
        argosy("push", str(model), "--name", "linear", home=home)
        argosy(
            *("image", "build", "linear:1", "-o", f"oci:{tmp_path / 'oci'}"),
            TZ="Pacific/Kiritimati",
            LC_ALL="C",
            PYTHONHASHSEED="7",
            home=home,
        )
    finally:
        os.umask(before)
    assert (tmp_path / "oci" / "index.json").read_bytes() == (layout.folder / "index.json").read_bytes()


@pytest.mark.slow
def test_two_platforms_in_one_archive(package: str, layout: Layout, cached_home: Path, tmp_path: Path):
    need_debian()
    file = tmp_path / "image.tar"
    platforms = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    argosy("image", "build", package, "-o", f"archive:{file}", *platforms, home=cached_home)
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path / "oci", filter="data")
    found = Layout(tmp_path / "oci")
    index = found.json(found.index["manifests"][0]["digest"])
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    models = {found.json(each["digest"])["layers"][-1]["digest"] for each in index["manifests"]}
    assert len(models) == 1


def test_a_bill_of_material_refers_to_the_image(package: str, layout: Layout, cached_home: Path, tmp_path: Path):
    argosy("image", "build", package, "-o", f"oci:{tmp_path / 'oci'}", "--sbom", home=cached_home)
    found = Layout(tmp_path / "oci")
    image, referrer = found.index["manifests"]
    assert image == layout.index["manifests"][0]
    manifest = found.json(referrer["digest"])
    assert manifest["subject"]["digest"] == image["digest"]
    bill = found.json(manifest["layers"][0]["digest"])
    parts = {each["name"]: each for each in bill["components"]}
    assert {"libc6", "onnxruntime", "argosy", "linear"} <= parts.keys()
    assert parts["libc6"]["purl"].startswith("pkg:deb/debian/libc6@")


def test_an_image_is_pushed_with_its_bill(package: str, layout: Layout, cached_home: Path, tmp_path: Path):
    registry = Registry(tmp_path / "r", tls=False)
    try:
        reference = f"{registry.ready().host}/models/linear:1"
        argosy("image", "build", package, "-o", reference, "--plain-http", home=cached_home)
        ran = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{reference}"],
            capture_output=True,
            check=False,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["Digest"] == layout.index["manifests"][0]["digest"]
        fallback = json.loads(ran.stdout)["Digest"].replace(":", "-")
        assert fallback in json.loads(ran.stdout)["RepoTags"]
    finally:
        registry.stop()


@pytest.mark.parametrize(
    "output", ["digits", "oci:", "registry.example/digits", f"registry.example/d@sha256:{'0' * 64}"]
)
def test_an_output_that_is_none_is_refused_before_anything_is_built(package: str, tmp_path: Path, output: str):
    command = [sys.executable, "-m", "argosy", "image", "build", package, "-o", output]
    ran = subprocess.run(
        command, env=os.environ | {"ARGOSY_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "registry" in ran.stderr or "must be" in ran.stderr
