import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.errors import BadPackage, InvalidArgument, PayloadTooLarge
from argosy.store.manifest import (
    CONFIG,
    FILEPATH,
    MANIFEST,
    MAX_DOCUMENT,
    MODEL,
    canonical,
    check_digest,
    layer,
    layer_type,
    model_config,
    package_files,
    parse,
)
from tests.store.samples import digest_of, model_manifest


def document(**changes: Any) -> dict[str, Any]:
    config = {"mediaType": CONFIG, "digest": digest_of(1), "size": 2}
    layers = [msgspec.to_builtins(layer("model.yaml", digest_of(2), 3))]
    base = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": MODEL, "config": config, "layers": layers}
    return base | changes


def files(value: dict[str, Any], limit: int = 1000) -> list[str]:
    return list(package_files(parse(json.dumps(value).encode(), "it"), "it", limit))


def with_layer(**changes: Any) -> dict[str, Any]:
    value = document()
    value["layers"][0] |= changes
    return value


def test_a_manifest_of_somebody_else_is_read():
    value = document(annotations={"a": "b"}, extra=[1])
    value["layers"][0]["urls"] = []
    assert files(value) == ["model.yaml"]


@pytest.mark.parametrize("path", ["../x", "/x", "a/../b", "", "a\\b", "a\x00"])
def test_paths_out_of_the_package_are_refused(path: str):
    with pytest.raises(BadPackage, match="not allowed"):
        files(with_layer(annotations={FILEPATH: path}))


@pytest.mark.parametrize(
    "value",
    [
        with_layer(annotations={}),
        with_layer(mediaType="application/vnd.cncf.model.weight.v1.tar"),
        with_layer(digest="sha256:../../etc/passwd"),
        with_layer(digest="sha512:" + "0" * 128),
        with_layer(digest="sha256:" + "A" * 64),
        with_layer(size=-1),
        with_layer(size=1.5),
        document(schemaVersion=1),
        document(mediaType="application/vnd.oci.image.index.v1+json"),
        document(layers={}),
        document(layers=document()["layers"] * 2),
        document(config=None),
        document(artifactType="", config={"mediaType": "x/y", "digest": digest_of(1), "size": 2}),
        document(layers=[msgspec.to_builtins(layer(f"f{n}", digest_of(n), 0)) for n in range(10_001)]),
    ],
)
def test_what_is_no_package_is_refused(value: dict[str, Any]):
    with pytest.raises(BadPackage):
        files(value)


def test_sizes_are_bounded():
    with pytest.raises(PayloadTooLarge):
        files(with_layer(size=1001))
    with pytest.raises(BadPackage, match="larger than"):
        parse(b" " * (MAX_DOCUMENT + 1), "it")


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_rubbish_is_no_manifest(data: bytes):
    with pytest.raises(BadPackage, match="it is no OCI image manifest"):
        parse(data, "it")


def test_json_is_canonical():
    assert canonical({"b": 1, "a": {"d": "ä", "c": []}}) == '{"a":{"c":[],"d":"ä"},"b":1}'.encode()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("weights/model.onnx", "weight"),
        ("weights/code/model.py", "weight"),
        ("model.yaml", "weight.config"),
        ("golden/inputs.oip", "weight.config"),
        ("profile.json", "weight.config"),
        ("requirements.txt", "code"),
        ("model.py", "code"),
        ("LICENSE", "doc"),
        ("README.md", "doc"),
    ],
)
def test_the_media_type_follows_the_path(path: str, kind: str):
    assert layer_type(path) == f"application/vnd.cncf.model.{kind}.v1.raw"


def test_the_config_has_the_three_objects_and_no_time():
    config = json.loads(model_config(model_manifest(), [layer("model.yaml", digest_of(2), 3)]))
    assert config == {
        "descriptor": {"name": "digits", "title": "digits", "licenses": ["Apache-2.0"]},
        "config": {"format": "onnx"},
        "modelfs": {"type": "layers", "diffIds": [digest_of(2)]},
    }


def test_the_metadata_of_a_layer_is_constant():
    metadata = json.loads(layer("a/b", digest_of(1), 7).annotations["org.cncf.model.file.metadata+json"])
    assert metadata["mtime"] == "1970-01-01T00:00:00Z"
    assert (metadata["name"], metadata["size"], metadata["uid"], metadata["gid"]) == ("a/b", 7, 0, 0)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:zz", "0" * 64, digest_of(1) + "\n"])
def test_digests_are_checked(digest: str):
    with pytest.raises(InvalidArgument):
        check_digest(digest)
