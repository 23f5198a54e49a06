"""The blocks of docs/guides/images.md, run as a reader would."""

import json
from pathlib import Path

import pytest

from tests import programs
from tests.cli.models import linear
from tests.docs import page
from tests.images.conftest import argosy, need_debian


@pytest.mark.slow
def test_images(reader, cached_home, tmp_path):
    need_debian()
    pytest.importorskip("zstandard")
    programs.need("skopeo")
    home = Path.cwd() / "h"
    home.mkdir()
    (cached_home / "cache").mkdir(exist_ok=True)
    (home / "cache").symlink_to(cached_home / "cache")  # layers of zstd are made by other tests
    model = linear(tmp_path / "digits.onnx")
    argosy("push", str(model), "--name", "digits", home=home)
    argosy("image", "build", str(model), "-o", f"oci:{tmp_path / 'oci'}", home=home)  # skips without downloads
    page.run("docs/guides/images.md", reader, shown=("text",))
    index = json.loads(Path("digits-gzip/index.json").read_bytes())
    manifest = json.loads(Path("digits-gzip/blobs/sha256", index["manifests"][0]["digest"][7:]).read_bytes())
    assert {each["mediaType"].rpartition("+")[2] for each in manifest["layers"]} == {"gzip"}
