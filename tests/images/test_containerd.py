"""containerd unpacks an image that Argosy built, with layers of zstd and of gzip."""

from pathlib import Path

import pytest

from tests.images.conftest import argosy
from tests.store.oci.test_containerd import ctr

__all__ = ["ctr"]


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_an_image_is_unpacked(ctr, package: str, cached_home: Path, layout, tmp_path: Path, compression: str):
    archive, mounted = tmp_path / "image.tar", tmp_path / "mounted"
    options = ("--compression", compression)
    argosy("image", "build", package, "-o", f"archive:{archive}", *options, home=cached_home)
    ctr("import", "--local", "--index-name", compression, archive)
    mounted.mkdir()
    name = next(line.split()[0] for line in ctr("ls").splitlines() if line.startswith("linear"))
    ctr("mount", name, mounted)
    try:
        assert (mounted / "models" / "model.yaml").is_file()
        assert (mounted / "usr" / "local" / "bin" / "argosy").stat().st_mode & 0o111
    finally:
        ctr("unmount", mounted)
        ctr("rm", name)
