"""Images as a user builds and runs them. Downloads are cached by uv and in ~/.cache/argosy."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy as cli
from argosy.images.debian import cache_folder
from argosy.packaging.environment import uv
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests import ports
from tests.cli.models import linear
from tests.images.conftest import Layout, argosy, need_debian
from tests.store.oci.fake import Fake
from tests.store.oci.live import Registry

zstandard = pytest.importorskip("zstandard")
SEPARATE = ("unshare", "--mount")


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_same_bytes_for_another_user_elsewhere(package: str, layout: Layout, cached_home: Path, tmp_path: Path):
    """Another folder, home, umask, time zone, locale, encoding, hash seed; where we are root, also a user who owns none
    of what is read, and may yet read it and write to the caches of downloads."""
    folder = tmp_path / "package"
    with closing(open_store(Home(cached_home), Settings())) as store:
        shutil.copytree(store.unpacked(store.registry.resolve(package).digest), folder)
    words = [sys.executable, "-m", "argosy", "image", "build", str(folder), "-o", f"oci:{tmp_path / 'own' / 'oci'}"]
    own = tmp_path / "own"
    (own / "tmp").mkdir(parents=True)
    if not os.getuid():
        capability = ("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override")
        words = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", *capability, *words]
        for path in (own, own / "tmp"):
            os.chown(path, 12345, 12345)
    found = {"UV_CACHE_DIR": _uv_cache(), "XDG_CACHE_HOME": str(cache_folder().parent)}
    found |= {"XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")}
    others = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    others |= {"HOME": str(own), "TMPDIR": str(own / "tmp"), "PYTHONHASHSEED": "7", "ARGOSY_HOME": str(own / "home")}
    ran = subprocess.run(
        words, env=os.environ | found | others, cwd=own, umask=0o077, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert (own / "oci" / "index.json").read_bytes() == (layout.folder / "index.json").read_bytes()
    assert (own / "oci").stat().st_uid == (os.getuid() or 12345)
    assert not list((own / "tmp").iterdir())


def _uv_cache() -> str:
    return subprocess.run([uv(), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


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


def test_a_registry_that_takes_no_more_gets_the_rest_the_next_time(package: str, layout: Layout, cached_home: Path):
    with Fake() as registry:
        registry.quota = 2
        words = ("image", "build", package, "-o", f"{registry.host}/models/linear:1", "--plain-http")
        ran = subprocess.run(
            [sys.executable, "-m", "argosy", *words],
            env=os.environ | {"ARGOSY_HOME": str(cached_home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 3, ran.stderr
        assert "DENIED the quota of the project is used up" in ran.stderr
        assert not registry.manifests
        registry.quota, before = 0, {*registry.blobs}
        assert len(before) == 2
        argosy(*words, home=cached_home)
        digest = layout.index["manifests"][0]["digest"]
        assert ("models/linear", "1") in registry.manifests
        assert ("models/linear", digest) in registry.manifests
        sent = [asked.query["digest"][0] for asked in registry.sent("PUT") if "digest" in asked.query]
        assert len(sent) == len({*sent}) == len(registry.blobs)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("-o", "digits"), "names no registry"),
        (("-o", "oci:"), "must be"),
        (("-o", "registry.example/digits"), "must be oci:DIR, archive:FILE or REGISTRY/REPOSITORY:TAG"),
        (("-o", f"registry.example/d@sha256:{'0' * 64}"), "must be oci:DIR, archive:FILE or REGISTRY/REPOSITORY:TAG"),
        (("-o", "oci:."), "is no OCI layout; name a folder that does not exist yet"),
        (("-o", "archive:."), "is a folder; name a file"),
        (
            ("-o", "oci:new", "--platform", "linux/riscv64"),
            "'linux/riscv64' is not one of 'linux/amd64', 'linux/arm64'",
        ),
        (("-o", "oci:new", "--platform", "arm64"), "'arm64' is not one of"),
    ],
    ids=["word", "empty", "no tag", "digest", "folder", "no file", "no platform", "half a platform"],
)
def test_where_an_image_cannot_go_is_said_before_anything_is_built(
    given: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "home"))
    (tmp_path / "precious").touch()
    ran = CliRunner().invoke(cli, ["image", "build", "linear:1", *given])
    assert said in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
