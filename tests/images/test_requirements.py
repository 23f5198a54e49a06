"""A Python model that requires what is not installed here: served beside Argosy, and in an image."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests import ports
from tests.images.conftest import Layout, argosy, need_debian

NEEDS = "humanize==4.12.0"
CODE = """
class Model:
    def load(self, path):
        self.factor = 0.5

    def predict(self, inputs):
        return {"area": inputs["x"][:, 0] * inputs["x"][:, 1] * self.factor}
"""


@pytest.fixture
def folder(cached_home: Path, tmp_path: Path) -> Path:
    """A package folder that requires NEEDS, as one that was pushed elsewhere."""
    (tmp_path / "model.py").write_text(CODE)
    (tmp_path / "rows.csv").write_text("length,width\n5.1,3.5\n6.7,3.0\n4.9,3.1\n")
    given = ("--name", "area", "--sample", str(tmp_path / "rows.csv"), "--trust")
    argosy("push", str(tmp_path / "model.py"), *given, home=cached_home)
    script = "import shutil, sys; from argosy.client.local import locate;"
    script += "shutil.copytree(locate('area').folder, sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "package")],
        env=os.environ | {"ARGOSY_HOME": str(cached_home)},
        check=True,
    )
    manifest = tmp_path / "package" / "model.yaml"
    manifest.chmod(0o644)
    text = manifest.read_text()
    assert "\nrequirements:" not in text
    manifest.write_text(f"{text}requirements:\n- {NEEDS}\n")
    return tmp_path / "package"


@pytest.mark.slow
def test_serve_installs_what_a_trusted_package_lacks(folder: Path, cached_home: Path):
    port = ports.free()
    command = [sys.executable, "-m", "argosy", "serve", str(folder), "--trust", "--port", str(port)]
    environ = os.environ | {"ARGOSY_HOME": str(cached_home)}
    refused = subprocess.run([*command, "--no-install"], env=environ, capture_output=True, text=True, check=False)
    assert f"this model needs {NEEDS} (not installed)" in refused.stderr
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not next((line for line in process.stdout if "is ready" in line), None):
                said = process.communicate()[1]
                if "uv could not get" in said:
                    pytest.skip(f"packages cannot be downloaded: {said[-300:]}")
                raise AssertionError(said)
            rows = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations",
                b'[{"length": 4, "width": 3}]',
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(rows, timeout=30) as answer:
                assert 6.0 in json.loads(answer.read())["predictions"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
    (made,) = (cached_home / "cache" / "environments").iterdir()
    assert (made / "humanize").is_dir()


@pytest.mark.slow
def test_an_image_has_them_in_a_layer(folder: Path, layout: Layout, cached_home: Path, tmp_path: Path):
    need_debian()
    build = ("image", "build", str(folder), "-o", f"oci:{tmp_path / 'oci'}")
    ran = subprocess.run(
        [sys.executable, "-m", "argosy", *build],
        env=os.environ | {"ARGOSY_HOME": str(cached_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nobody here vouches for it" in ran.stderr
    script = (
        "import sys; from pathlib import Path; from argosy.packaging.lineage import lineage_of;"
        "from argosy.packaging.package import open_package; from argosy.spec.settings import home, load;"
        "from argosy.store import open_store; p = open_package(Path(sys.argv[1]));"
        "s = open_store(home(), load(home()));"
        "print(s.add(p.folder, name='area', manifest=p.manifest, lineage=lineage_of(p.folder), trusted=True).ref)"
    )
    added = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=os.environ | {"ARGOSY_HOME": str(cached_home)},
        capture_output=True,
        text=True,
        check=True,
    )
    argosy("image", "build", added.stdout.strip(), *build[3:], home=cached_home)
    found = Layout(tmp_path / "oci")
    manifest = found.json(found.index["manifests"][0]["digest"])
    config = found.json(manifest["config"]["digest"])
    assert {"PYTHONPATH=/opt/requirements", "ARGOSY_SERVE_TRUST=1"} <= set(config["config"]["Env"])
    before = layout.json(layout.index["manifests"][0]["digest"])["layers"]
    assert [each["digest"] for each in manifest["layers"][:3]] == [each["digest"] for each in before[:3]]
    assert len(manifest["layers"]) == len(before) + 1
