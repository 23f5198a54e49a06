"""Versions to a registry and back, as a user types it: Debian's docker-registry with TLS and a login."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from argosy.packaging.package import write_manifest
from argosy.spec.package import Scan
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.store.oci.fake import Fake
from tests.store.oci.live import PASSWORD, USER, Registry, running
from tests.store.samples import model_lineage, model_manifest, write_folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("registry") / "r") as found:
        yield found


@pytest.fixture
def logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of logins."""
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    return tmp_path / "auth.json"


@pytest.fixture
def version(place: Home, tmp_path: Path) -> str:
    """The digest of digits:1, whose scan objected, and which nobody trusts."""
    scan = Scan(verdict="objected", objections=("os.system",))
    manifest = msgspec.structs.replace(model_manifest(), scan=scan)
    folder = write_folder(tmp_path / "package")
    write_manifest(folder, manifest)
    store = open_store(place, Settings())
    digest = store.add(folder, name="digits", manifest=manifest, lineage=model_lineage("mallory")).digest
    store.close()
    return digest


def login(run, registry: Registry, password: str = PASSWORD):
    words = ("registry", "login", registry.host, "-u", USER, "--password-stdin", "--ca", registry.ca)
    return run(*words, input=password + "\n")


def test_a_package_as_a_folder(run, version: str, tmp_path: Path):
    folder = tmp_path / "deep" / "digits"
    for _ in range(2):
        result = run("models", "fetch", version, folder)
        assert (result.exit_code, result.stdout) == (0, f"{folder}\n")
    (folder / "model.yaml").write_text("altered")
    assert run("models", "fetch", version, folder).exit_code == 5
    assert run("models", "fetch", f"sha256:{'0' * 64}", tmp_path / "none").exit_code == 4
    assert run("models", "fetch", "digits:1", tmp_path / "none").exit_code == 2


def test_there_and_back(run, registry: Registry, logins: Path, version: str, tmp_path: Path, monkeypatch):
    place, ca = f"{registry.host}/cli/digits", ("--ca", registry.ca)
    result = run("push", "digits:1", "--to", place, *ca)
    assert (result.exit_code, f"argosy registry login {registry.host}" in result.stderr) == (3, True)
    result = login(run, registry, "wrong")
    assert (result.exit_code, "nothing was kept" in result.stderr) == (3, True)
    assert not logins.exists()
    result = login(run, registry)
    assert result.stdout == f"logged in to {registry.host}; kept in {logins}\n"
    assert stat.S_IMODE(logins.stat().st_mode) == 0o600

    result = run("push", "digits:1", "--to", place, *ca)
    assert result.stdout.splitlines()[0] == f"{place}:1  {version}"
    found = json.loads(run("push", "digits", "--to", f"{place}:best", "--no-image", "--json", *ca).stdout)
    counts = {"image": "", "referrers": 1, "sent": 0, "there": 10}
    assert found == {"ref": "digits:1", "to": f"{place}:best", "digest": version} | counts
    listed = json.loads(run("tags", place, "--json", *ca).stdout)
    assert {"1", "1-image", "best"} <= set(listed)

    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "other"))
    result = run("pull", f"{place}:1", *ca)
    assert result.stdout.startswith(f"digits:1  {version}\n")
    assert "not trusted to run code of its author (os.system)" in result.stdout
    shown = json.loads(run("models", "show", "digits:1", "--json").stdout)
    assert shown["trust"] is None
    assert shown["lineage"]["source_path"] == f"{place}@{version}"
    assert shown["lineage"]["pushed_by"] != "mallory"
    found = json.loads(run("pull", f"{place}:best", "--name", "mine", "--trust", "--json", *ca).stdout)
    assert (found["ref"], found["trusted"]) == ("mine:1", True)
    trust = json.loads(run("models", "show", "mine:1", "--json").stdout)["trust"]
    assert (trust["by"], trust["objections"]) == (shown["lineage"]["pushed_by"], ["os.system"])

    assert run("registry", "logout", registry.host).stdout == f"logged out of {registry.host}: deleted in {logins}\n"
    assert run("registry", "logout", registry.host).exit_code == 4
    assert run("pull", f"{place}:1", *ca).exit_code == 3


def test_a_registry_that_asks_nobody_for_a_login(run, logins: Path):
    with Fake() as fake:
        result = run("registry", "login", fake.host, "-u", "ada", "--password-stdin", input="s\n")
    assert (result.exit_code, "was not checked" in result.stderr) == (0, True)
    assert logins.exists()


def test_options_of_one_push_and_of_the_other(run, tmp_path: Path):
    for words, said in (
        (["x"], "missing option '--name'"),
        (["x", "--to", "registry.example/x", "--sample", "x.csv"], "--sample goes not together with --to"),
        (["x", "--to", "registry.example/x", "--name", "x"], "--name goes not together with --to"),
        (["x", "--name", "x", "--no-image"], "--no-image goes together with --to"),
        (["x", "--name", "x", "--ca", "f"], "--ca goes together with --to"),
        (["x", "--to", f"registry.example/x@sha256:{'0' * 64}"], "is pushed to a tag"),
        (["x", "--to", "registry.example/x", "--ca", str(tmp_path)], "no model is named 'x'"),
    ):
        result = run("push", *words)
        assert said in result.stderr
        assert result.exit_code in (2, 4)


def test_words_that_name_nothing(run, tmp_path: Path):
    assert "is no host" in run("registry", "login", "https://registry.example").stderr
    empty = run("registry", "login", "registry.example", "-u", "ada", "--password-stdin", input="\n")
    assert "the password is empty" in empty.stderr
    assert "names no registry" in run("pull", "digits:1").stderr
    (tmp_path / "ca.pem").write_text("no certificate")
    assert "holds no certificates" in run("tags", "registry.example/x", "--ca", tmp_path / "ca.pem").stderr
