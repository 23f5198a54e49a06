"""Logins to registries, where podman, skopeo, docker and others keep them.

Files, in order: the one of REGISTRY_AUTH_FILE, alone if that is set; XDG_RUNTIME_DIR/containers/auth.json;
DOCKER_CONFIG/config.json, or ~/.docker/config.json without that variable. In a file, by the longest key that fits
(HOST/NAMESPACE, then HOST): `credHelpers`, then `credsStore`, then `auths`. Sources: containers-auth.json(5), the
configuration of docker, the protocol of docker-credential-helpers.
"""

import base64
import binascii
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.spec.errors import InvalidArgument, NotFound, Unavailable
from argosy.spec.strict import parse
from argosy.store.durable import replace

MAX_FILE = 4 * 1024 * 1024
MAX_SECRET = 64 * 1024
SECONDS = 30
"""How long a credential helper may take."""
TOKEN = "<token>"
"""The user under which a helper gives an identity token."""
_HELPER = re.compile(r"[A-Za-z0-9._-]+")


class Credential(msgspec.Struct, frozen=True):
    """A user and a secret; without a user the secret is an identity token (OAuth2 refresh token)."""

    user: str
    secret: str

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


def files(environ: Mapping[str, str]) -> list[Path]:
    """Where logins may lie, in the order in which they are read; a file need not be there."""
    if given := environ.get("REGISTRY_AUTH_FILE"):
        return [Path(given)]
    runtime = environ.get("XDG_RUNTIME_DIR")
    docker = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or Path.home()) / ".docker")
    return [*([Path(runtime) / "containers" / "auth.json"] if runtime else []), docker / "config.json"]


def find(host: str, repository: str, environ: Mapping[str, str]) -> Credential | None:
    """The login for a repository; None without one. Raises InvalidArgument for a file that cannot be read, NotFound
    without the helper that it names, Unavailable where that fails."""
    parts = f"{host}/{repository}".rstrip("/").split("/")
    keys = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    for path in files(environ):
        config = _read(path)
        for key in keys:
            helper = _table(config, "credHelpers").get(key) or (key == host and config.get("credsStore"))
            if helper and (found := _ask(str(helper), key, path, environ)):
                return found
            if found := _entry(config, key, path):
                return found
    return None


def save(host: str, credential: Credential, environ: Mapping[str, str]) -> str:
    """Keep a login in the first of the files that is there, else in the last one, or in the helper that this names.
    Returns where it is now."""
    path = next((each for each in files(environ) if each.exists()), files(environ)[-1])
    config = _read(path)
    if helper := _table(config, "credHelpers").get(host) or config.get("credsStore"):
        body = {"ServerURL": host, "Username": credential.user or TOKEN, "Secret": credential.secret}
        _run(str(helper), "store", msgspec.json.encode(body), path, environ)
        return f"docker-credential-{helper}"
    entry = (
        {"auth": credential.basic.removeprefix("Basic ")} if credential.user else {"identitytoken": credential.secret}
    )
    _write(path, config | {"auths": {**_table(config, "auths"), host: entry}})
    return str(path)


def erase(host: str, environ: Mapping[str, str]) -> list[str]:
    """Delete the logins of a host, those of its namespaces too. Returns from where; empty where there was none."""
    gone: list[str] = []
    for path in files(environ):
        config = _read(path)
        helper = _table(config, "credHelpers").get(host) or config.get("credsStore")
        if helper and _ask(str(helper), host, path, environ):
            _run(str(helper), "erase", host.encode(), path, environ)
            gone.append(f"docker-credential-{helper}")
        auths = _table(config, "auths")
        left = {key: entry for key, entry in auths.items() if _plain(key).partition("/")[0] != host}
        if left != auths:
            _write(path, config | {"auths": left})
            gone.append(str(path))
    return gone


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE:
            raise InvalidArgument(f"{path} is larger than {MAX_FILE} bytes: that is no file of logins")
        wrong = f"{path}, where logins to registries are kept, is not valid JSON"
        return parse(path.read_bytes() or b"{}", dict[str, Any], wrong, InvalidArgument)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = path.resolve()
    replace(target, msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n", target.parent, mode=0o600)


def _table(config: dict[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _plain(key: str) -> str:
    """A key of `auths` without scheme and API version, which old files have."""
    return re.sub(r"/v[12]/?$", "", re.sub(r"^https?://", "", key)).rstrip("/")


def _entry(config: dict[str, Any], key: str, path: Path) -> Credential | None:
    for name in _table(config, "auths"):
        entry = _table(_table(config, "auths"), name)
        if _plain(name) != key or not entry:
            continue
        if token := entry.get("identitytoken"):
            return Credential("", str(token))
        try:
            user, colon, secret = base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = user = secret = ""
        if not colon:
            raise InvalidArgument(f"the entry '{name[:80]}' of {path} holds no user and password: log in again")
        return Credential(user, secret.rstrip("\0"))
    return None


def _ask(helper: str, key: str, path: Path, environ: Mapping[str, str]) -> Credential | None:
    out = _run(helper, "get", key.encode(), path, environ, missing=True)
    if out is None:
        return None
    try:
        found = msgspec.json.decode(out, type=dict[str, Any])
        user, secret = str(found["Username"]), str(found["Secret"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        raise Unavailable(f"docker-credential-{helper}, named by {path}, answered no login for {key}") from None
    return Credential("" if user == TOKEN else user, secret)


def _run(
    helper: str, verb: str, said: bytes, path: Path, environ: Mapping[str, str], missing: bool = False
) -> bytes | None:
    """What a helper prints; None, with `missing`, where it says that it has no such login."""
    program = f"docker-credential-{helper}"
    where = _HELPER.fullmatch(helper) and shutil.which(program, path=environ.get("PATH"))
    if not where:
        raise NotFound(
            f"{path} names the helper {program[:80]}, which is not on the PATH: install it, or take it out of that file"
        )
    try:
        done = subprocess.run(
            [where, verb], input=said, capture_output=True, timeout=SECONDS, check=False, env=dict(environ)
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise Unavailable(f"{program} {verb} failed: {error}") from None
    if done.returncode == 0:
        return done.stdout[:MAX_SECRET]
    text = " ".join((done.stdout + done.stderr)[:400].decode(errors="replace").split())
    if missing and "not found" in text:
        return None
    raise Unavailable(f"{program} {verb} ended with status {done.returncode}: {text}")
