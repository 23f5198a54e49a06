"""`argosy sign`, `argosy verify` and `argosy sbom`, as a user runs them."""

import json
import re

import pytest

from argosy.packaging.package import write_manifest
from argosy.spec.settings import Settings
from argosy.store import open_store
from argosy.trust.bundle import sign
from argosy.trust.statement import files_of
from tests.store.samples import model_lineage, model_manifest, write_folder
from tests.trust.conftest import Authority, make_key, pem, write_key


@pytest.fixture
def folder(tmp_path):
    found = write_folder(tmp_path / "package")
    write_manifest(found, model_manifest())
    return found


@pytest.fixture
def version(place, folder):
    store = open_store(place, Settings())
    found = store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    return found


@pytest.fixture
def pair(tmp_path):
    return write_key(tmp_path / "release.pem", make_key())


def test_a_version_is_signed_and_verified(run, version, pair, tmp_path):
    private, public = pair
    assert "digits:1 is not signed" in run("verify", "digits:1").stdout
    refused = run("verify", "digits:1", "--require-signature")
    assert (refused.exit_code, "digits:1 is not signed" in refused.stderr) == (8, True)
    done = json.loads(run("sign", "digits:1", "--key", private, "--json").stdout)
    assert (done["digest"], done["unchanged"]) == (version.digest, False)
    again = json.loads(run("sign", "digits:1", "--key", private, "--json").stdout)
    assert again == done | {"unchanged": True}
    found = json.loads(run("verify", "digits:1", "--key", public, "--json").stdout)
    assert (found["signer"], found["files"], len(found["signatures"])) == (str(public), 7, 1)
    other = write_key(tmp_path / "other.pem", make_key())[1]
    refused = run("verify", "digits", "--key", other)
    assert (refused.exit_code, "another key" in refused.stderr) == (8, True)


def test_who_counts_is_in_the_configuration(run, place, version, pair, tmp_path):
    private, public = pair
    run("sign", "digits:1", "--key", private)
    place.config.write_text(f"signatures: {{signers: {{ada: {{key: {public}, models: [digits]}}}}}}\n")
    assert "which counts as ada" in run("verify", "digits:1", "--require-signature").stdout
    place.config.write_text(f"signatures: {{signers: {{ada: {{key: {public}, models: [other]}}}}}}\n")
    assert run("verify", "digits:1", "--require-signature").exit_code == 8
    shown = run("verify", "digits:1")
    assert (shown.exit_code, "count here" in shown.stdout) == (0, True)
    place.config.write_text("signatures: {require: ['dig*']}\n")
    assert run("verify", "digits:1").exit_code == 8


def test_show_names_who_signed(run, place, version, pair, tmp_path):
    private, public = pair
    assert json.loads(run("models", "show", "digits:1", "--json").stdout)["signatures"] == []
    assert re.search(r"signed +no$", run("models", "show", "digits:1").stdout, re.MULTILINE)
    place.config.write_text("signatures: {require: [digits]}\n")
    assert "signatures.require in config.yaml refuses it" in run("models", "show", "digits:1").stdout
    by = json.loads(run("sign", "digits:1", "--key", private, "--json").stdout)["by"]
    run("sign", "digits:1", "--key", write_key(tmp_path / "other.pem", make_key())[0])
    place.config.write_text(
        f"signatures: {{signers: {{ada: {{key: {public}, models: [digits]}}}}, require: [digits]}}\n"
    )
    shown = run("models", "show", "digits:1").stdout
    assert f"by {by}, counts as ada" in shown
    assert "another key has signed it" in shown
    assert "refuses it" not in shown
    first, second = json.loads(run("models", "show", "digits:1", "--json").stdout)["signatures"]
    assert (first["by"], first["signer"], first["wrong"]) == (by, "ada", "")
    assert (second["signer"], "another key" in second["wrong"]) == ("", True)


def test_show_names_the_subject_of_a_certificate(run, version, tmp_path):
    authority, key = Authority(), make_key()
    private, _ = write_key(tmp_path / "ada.pem", key)
    (tmp_path / "chain.pem").write_bytes(pem(*authority.chain("ada", key)))
    run("sign", "digits:1", "--key", private, "--certificate", tmp_path / "chain.pem")
    assert (
        "by ada@example.org, it is by none of the signers that count here" in run("models", "show", "digits:1").stdout
    )


def test_an_encrypted_key(run, version, tmp_path):
    private, public = write_key(tmp_path / "a.pem", make_key(), b"open sesame")
    assert run("sign", "digits:1", "--key", private).exit_code == 2
    (tmp_path / "passphrase").write_text("open sesame\n")
    assert run("sign", "digits:1", "--key", private, "--passphrase-file", tmp_path / "passphrase").exit_code == 0
    assert run("verify", "digits:1", "--key", public).exit_code == 0


def test_an_altered_file_is_named(run, place, version, pair):
    run("sign", "digits:1", "--key", pair[0])
    layout = open_store(place, Settings()).layout
    blob = layout.blobs.path(layout.files(version.digest)["weights/model.onnx"].digest)
    blob.chmod(0o600)
    blob.write_bytes(bytes(4096))
    refused = run("verify", "digits:1", "--key", pair[1])
    assert (refused.exit_code, "weights/model.onnx" in refused.stderr) == (7, True)


def test_certificates(run, version, tmp_path):
    authority, key = Authority(), make_key()
    private, _ = write_key(tmp_path / "ada.pem", key)
    (tmp_path / "chain.pem").write_bytes(pem(*authority.chain("ada", key)))
    (tmp_path / "ca.pem").write_bytes(pem(authority.root))
    done = run("sign", "digits:1", "--key", private, "--certificate", tmp_path / "chain.pem")
    assert "signed by ada@example.org" in done.stdout
    ca = ("--certificate-authority", tmp_path / "ca.pem")
    assert "signed by ada@example.org" in run("verify", "digits:1", *ca, "--identity", "ada@example.org").stdout
    assert run("verify", "digits:1", *ca, "--identity", "eve@example.org").exit_code == 8


def test_a_signature_made_elsewhere(run, version, folder, tmp_path):
    key = make_key()
    public, made = write_key(tmp_path / "k.pem", key)[1], tmp_path / "made.sig"
    made.write_bytes(sign("digits", files_of(folder) | {"more": "0" * 64}, key))
    refused = run("sign", "digits:1", "--sigstore-bundle", made)
    assert (refused.exit_code, "over other bytes: more: missing" in refused.stderr) == (8, True)
    made.write_bytes(sign("elsewhere", files_of(folder), key))
    assert run("sign", "digits:1", "--sigstore-bundle", made).exit_code == 0
    assert run("verify", "digits:1", "--key", public).exit_code == 0


def test_a_folder_has_its_signature_beside(run, folder, pair):
    done = json.loads(run("sign", folder, "--key", pair[0], "--json").stdout)
    assert done["place"] == str(folder.with_name("package.sig"))
    assert run("verify", folder, "--key", pair[1]).exit_code == 0
    (folder / "more").touch()
    refused = run("verify", folder, "--key", pair[1])
    assert (refused.exit_code, "more: not signed" in refused.stderr) == (8, True)


def test_bills(run, place, version, folder, tmp_path):
    run("sbom", "digits:1", "-o", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["metadata"]["component"]["version"] == version.digest
    assert run("sbom", folder).stdout.encode() == (tmp_path / "a.json").read_bytes() + b"\n"
    places = {run("sbom", "digits:1", "--attach").stderr for _ in range(2)}
    assert len(places) == 1
    layout = open_store(place, Settings()).layout
    (found,) = layout.referrers(version.digest, "application/vnd.cyclonedx+json")
    assert layout.read(found.data) == (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("sign", "digits:1"), "either --key or --sigstore-bundle"),
        (("sign", "digits:1", "--sigstore-bundle", "x", "--certificate", "y"), "go with --key"),
        (("verify", "digits:1", "--key", "a", "--certificate-authority", "b"), "either --key or"),
        (("verify", "digits:1", "--identity", "a"), "goes with --certificate-authority"),
    ],
)
def test_what_goes_together(run, version, args, message):
    done = run(*args)
    assert (done.exit_code, message in done.stderr) == (2, True)
