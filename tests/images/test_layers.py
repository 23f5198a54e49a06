import gzip
import hashlib
import os

import pytest

from argosy.images.layers import LayerCache
from argosy.images.tree import Tree

zstandard = pytest.importorskip("zstandard")


def _tree():
    tree = Tree()
    tree.file("a", b"x" * 10_000_000)
    return tree


def test_a_layer_is_made_once_for_its_inputs(tmp_path):
    cache, made = LayerCache(tmp_path, "zstd", 0), []

    def make():
        made.append(1)
        return _tree()

    assert cache.layer("a", [1], make) == cache.layer("a", [1], make)
    assert len(made) == 1
    cache.layer("a", [2], make)
    LayerCache(tmp_path, "zstd", 1).layer("a", [1], make)
    assert len(made) == 3


def test_a_layer_whose_blob_is_gone_or_cut_is_made_again(tmp_path):
    cache = LayerCache(tmp_path, "zstd", 0)
    layer = cache.layer("a", [1], _tree)
    blob = cache.blob(layer)
    content = blob.read_bytes()
    blob.unlink()
    assert cache.layer("a", [1], _tree) == layer
    blob.chmod(0o644)
    blob.write_bytes(content[:-1])
    assert cache.layer("a", [1], _tree) == layer
    assert blob.read_bytes() == content


def test_layers_that_no_build_took_are_deleted(tmp_path):
    cache = LayerCache(tmp_path, "zstd", 0)
    taken, left = cache.layer("a", [1], Tree), cache.layer("a", [2], _tree)
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    assert cache.layer("a", [1], Tree) == taken
    LayerCache(tmp_path, "zstd", 0)
    assert cache.blob(taken).exists()
    assert not cache.blob(left).exists()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_digests_are_those_of_the_blob_and_of_the_archive(tmp_path, compression):
    cache = LayerCache(tmp_path, compression, 0)
    layer = cache.layer("a", [1], _tree)
    blob = cache.blob(layer).read_bytes()
    archive = (
        gzip.decompress(blob)
        if compression == "gzip"
        else zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    )
    assert layer.digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(archive).hexdigest()}"
    assert layer.media_type == f"application/vnd.oci.image.layer.v1.tar+{compression}"


def test_the_number_of_cores_does_not_show(tmp_path, monkeypatch):
    found = set()
    for cores in (1, 2, 5):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        found.add(LayerCache(tmp_path / str(cores), "zstd", 0).layer("a", [1], _tree))
    assert len(found) == 1
