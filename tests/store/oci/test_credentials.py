"""Logins where other tools keep them."""

import base64
import json
import stat
from pathlib import Path

import pytest

from argosy.spec.errors import InvalidArgument, NotFound, Unavailable
from argosy.store.oci.credentials import Credential, erase, files, find, save

HELPER = """#!/bin/sh
read -r said
case "$1" in
get) test -e "$0.$said" && cat "$0.$said" || { echo "credentials not found in native keychain"; exit 1; } ;;
store) printf %s "$said" > "$0.kept" ;;
erase) rm "$0.$said" ;;
esac
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}


def entry(user: str, secret: str = "s") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


def put(path: Path, config: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def helper(tmp_path: Path, name: str, **kept: dict[str, str]) -> Path:
    program = put(tmp_path / "bin" / f"docker-credential-{name}", HELPER)
    program.chmod(0o755)
    for host, answer in kept.items():
        put(Path(f"{program}.{host}"), answer)
    return program


def test_files_in_their_order(tmp_path: Path, environ: dict[str, str]):
    assert files(environ) == [tmp_path / ".docker" / "config.json"]
    environ |= {"XDG_RUNTIME_DIR": "/run/x", "DOCKER_CONFIG": "/d"}
    assert list(map(str, files(environ))) == ["/run/x/containers/auth.json", "/d/config.json"]
    assert list(map(str, files(environ | {"REGISTRY_AUTH_FILE": "/f"}))) == ["/f"]


def test_the_longest_key_wins(tmp_path: Path, environ: dict[str, str]):
    auths = {"r.example": entry("host"), "r.example/a": entry("a", "x:y"), "r.example/a/b": {"identitytoken": "t"}}
    put(tmp_path / ".docker" / "config.json", {"auths": auths})
    assert find("r.example", "a/b", environ) == Credential("", "t")
    assert find("r.example", "a/c", environ) == Credential("a", "x:y")
    assert find("r.example", "ab", environ) == Credential("host", "s")
    assert find("r.example:5000", "a", environ) is None
    put(tmp_path / ".docker" / "config.json", {"auths": {"https://r.example/v1/": entry("old")}})
    assert find("r.example", "x", environ) == Credential("old", "s")


def test_the_first_file_that_has_one_wins(tmp_path: Path, environ: dict[str, str]):
    environ["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    put(tmp_path / "run" / "containers" / "auth.json", {"auths": {"a.example": entry("podman")}})
    auths = {"a.example": entry("docker"), "b.example": entry("docker"), "c.example": {}}
    put(tmp_path / ".docker" / "config.json", {"auths": auths})
    found = [find(f"{host}.example", "x", environ) for host in "abc"]
    assert [each and each.user for each in found] == ["podman", "docker", None]


def test_helpers(tmp_path: Path, environ: dict[str, str]):
    answer = {"ServerURL": "x", "Username": "helped", "Secret": "s"}
    token = {"ServerURL": "x", "Username": "<token>", "Secret": "t"}
    helper(tmp_path, "one", **{"one.example": answer})
    helper(tmp_path, "all", **{"two.example": token})
    auths = {"one.example": entry("file"), "two.example": entry("file"), "three.example": entry("file")}
    config = {"credHelpers": {"one.example": "one"}, "credsStore": "all", "auths": auths}
    path = put(tmp_path / ".docker" / "config.json", config)
    assert find("one.example", "x", environ) == Credential("helped", "s")
    assert find("two.example", "x", environ) == Credential("", "t")
    assert find("three.example", "x", environ) == Credential("file", "s")
    put(tmp_path / "bin" / "docker-credential-all.two.example", "nonsense")
    with pytest.raises(Unavailable, match=r"answered no login for two\.example"):
        find("two.example", "x", environ)
    put(path, {"credsStore": "absent"})
    with pytest.raises(NotFound, match="docker-credential-absent, which is not on the PATH"):
        find("two.example", "x", environ)
    put(path, {"credsStore": "../../evil"})
    with pytest.raises(NotFound, match="not on the PATH"):
        find("two.example", "x", environ)


def test_a_login_is_kept_for_its_owner_alone(tmp_path: Path, environ: dict[str, str]):
    path = tmp_path / ".docker" / "config.json"
    assert save("r.example", Credential("ada", "s"), environ) == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    put(path, json.loads(path.read_text()) | {"HttpHeaders": {"x": "y"}})
    save("other.example", Credential("", "identity"), environ)
    kept = json.loads(path.read_text())
    assert kept["HttpHeaders"] == {"x": "y"}
    assert kept["auths"] == {"r.example": entry("ada"), "other.example": {"identitytoken": "identity"}}
    put(path, kept | {"auths": kept["auths"] | {"r.example/a": entry("b"), "r.example:5000": entry("c")}})
    assert erase("r.example", environ) == [str(path)]
    assert json.loads(path.read_text())["auths"].keys() == {"other.example", "r.example:5000"}
    assert erase("r.example", environ) == []


def test_a_login_is_kept_by_the_helper_that_is_named(tmp_path: Path, environ: dict[str, str]):
    program = helper(tmp_path, "all", **{"r.example": {"Username": "ada", "Secret": "s"}})
    path = put(tmp_path / ".docker" / "config.json", {"credsStore": "all"})
    assert save("r.example", Credential("ada", "s"), environ) == "docker-credential-all"
    assert json.loads(Path(f"{program}.kept").read_text()) == {
        "ServerURL": "r.example",
        "Username": "ada",
        "Secret": "s",
    }
    assert "auths" not in json.loads(path.read_text())
    assert erase("r.example", environ) == ["docker-credential-all"]
    assert find("r.example", "x", environ) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"r.example": {"auth": "!"}}}', " " * 5_000_000])
def test_files_that_cannot_be_read(tmp_path: Path, environ: dict[str, str], text: str):
    path = put(tmp_path / ".docker" / "config.json", text)
    with pytest.raises(InvalidArgument, match=str(path)):
        find("r.example", "x", environ)
