import base64
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from argosy.spec.errors import BadSignature, InvalidArgument
from argosy.store.manifest import MAX_DOCUMENT
from argosy.trust.bundle import BUNDLE, PAYLOAD, pae, read, sign
from argosy.trust.statement import check_statement, files_of, statement
from tests.trust.conftest import Authority, make_key


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_key_signs_the_files(folder, curve):
    key, files = make_key(curve), files_of(folder)
    found = read(sign("digits", files, key), "it")
    found.check_files(files)
    found.check_key(key.public_key())
    with pytest.raises(BadSignature, match="another key"):
        found.check_key(make_key(curve).public_key())
    with pytest.raises(BadSignature, match="without a certificate"):
        found.check_authority([])


def test_the_form_is_that_of_the_specifications(folder):
    said = json.loads(sign("digits", files_of(folder), make_key()))
    assert said["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert (said["verificationMaterial"]["tlogEntries"], len(said["verificationMaterial"]["publicKey"]["hint"])) == (
        [],
        64,
    )
    payload = json.loads(base64.b64decode(said["dsseEnvelope"]["payload"]))
    assert payload["predicate"]["serialization"] == {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
    }
    assert [each["name"] for each in payload["predicate"]["resources"]] == [
        "LICENSE",
        "golden/inputs.oip",
        "golden/outputs.oip",
        "model.yaml",
        "profile.json",
        "requirements.txt",
        "weights/model.onnx",
    ]
    assert pae(b"abc") == b"DSSEv1 28 application/vnd.in-toto+json 3 abc"


def test_an_authority_vouches_for_the_key(folder, authority):
    key, files = make_key(), files_of(folder)
    found = read(sign("digits", files, key, authority.chain("ada", key)), "it")
    assert found.signer == "ada@example.org"
    found.check_authority([authority.root])
    found.check_authority([authority.root], "ada@example.org")
    found.check_key(key.public_key())
    for roots, identity, message in (
        ([Authority("other").root], "", "does not count here"),
        ([authority.root], "eve@example.org", "that of ada@example.org: not eve@example.org"),
        ([], "", "does not count here"),
    ):
        with pytest.raises(BadSignature, match=message):
            found.check_authority(roots, identity)


def test_a_certificate_that_may_not_sign(folder, authority):
    key, eve = make_key(), make_key()
    found = read(sign("digits", files_of(folder), key, authority.chain("ada", key, signs=False)), "it")
    with pytest.raises(BadSignature, match="for another use"):
        found.check_authority([authority.root])
    signer = authority.chain("ada", key)
    by_signer = Authority()
    by_signer.below = key
    forged = [by_signer.chain("eve", eve)[0], signer[0], authority.issuer]
    found = read(sign("digits", files_of(folder), eve, forged), "it")
    with pytest.raises(BadSignature, match="does not count here"):
        found.check_authority([authority.root])
    with pytest.raises(InvalidArgument, match="not that of the key"):
        sign("digits", {}, eve, signer)


def test_what_is_no_bundle(folder):
    good = json.loads(sign("digits", files_of(folder), make_key()))
    for change, message in (
        ({"mediaType": "application/vnd.dev.sigstore.bundle.v0.2+json"}, "no Sigstore bundle v0.3"),
        ({"dsseEnvelope": good["dsseEnvelope"] | {"payloadType": "text/plain"}}, "no Sigstore bundle v0.3"),
        ({"dsseEnvelope": good["dsseEnvelope"] | {"signatures": []}}, "0 signatures"),
        ({"dsseEnvelope": {}}, "missing required field"),
    ):
        with pytest.raises(BadSignature, match=message):
            read(json.dumps(good | change).encode(), "model.sig")
    for data in (b"", b"\xff", b"[" * 100_000, b"{}", b" " * (MAX_DOCUMENT + 1)):
        with pytest.raises(BadSignature, match=r"model\.sig"):
            read(data, "model.sig")
    assert BUNDLE.startswith("application/vnd.dev.sigstore")
    assert PAYLOAD == "application/vnd.in-toto+json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "not over a model"),
        ({"subject": []}, "contradicts itself"),
        ({"subject": [{"name": "digits", "digest": {"sha256": "0" * 64}}]}, "contradicts itself"),
        ({"predicate": {"resources": []}}, "no in-toto statement"),
        ({"predicate": {"serialization": {"method": "shards"}, "resources": []}}, "sign files with sha256"),
        ({"predicate": {"serialization": {"method": [], "hash_type": {}}, "resources": []}}, "sign files with sha256"),
        ({"predicate": {"serialization": {"method": "files", "hash_type": "blake3"}, "resources": []}}, "sha256"),
    ],
)
def test_statements_about_something_else(folder, change, message):
    files = files_of(folder)
    said = json.loads(statement("digits", files)) | change
    with pytest.raises(BadSignature, match=message):
        check_statement(json.dumps(said).encode(), files)


def test_paths_that_no_package_has(folder):
    files = files_of(folder)
    said = json.loads(statement("digits", files))
    for name in ("/etc/passwd", "../up", "model.yaml"):
        said["predicate"]["resources"][0]["name"] = name
        with pytest.raises(BadSignature, match="lists files that no package has"):
            check_statement(msgspec.json.encode(said), files)


def test_what_differs_is_named(folder):
    files = files_of(folder)
    payload = statement("digits", files)
    check_statement(payload, files)
    for other, message in (
        (files | {"model.yaml": "0" * 64}, r"model\.yaml: altered"),
        (files | {f"new{n}": "0" * 64 for n in range(5)}, r"new0, new1, new2 and 2 more: not signed"),
        ({path: files[path] for path in files if path != "LICENSE"}, "LICENSE: missing"),
    ):
        with pytest.raises(BadSignature, match=message):
            check_statement(payload, other)
