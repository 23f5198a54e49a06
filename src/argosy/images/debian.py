"""The base of an image: Debian packages by a lock, downloaded by apt and unpacked without root.

A lock names packages, versions and digests; where they come from is what the apt of this machine is configured for.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import msgspec

from argosy.images.platforms import Platform
from argosy.images.tree import Tree
from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, Unavailable, Unsupported
from argosy.spec.strict import parse
from argosy.store.paths import hash_of

RELEASE, PYTHON = "bookworm", "3.11"
PACKAGES = (
    *("base-files", "ca-certificates", "libbz2-1.0", "libc6", "libcrypt1", "libexpat1", "libffi8", "libgcc-s1"),
    *("libgomp1", "liblzma5", "libpython3.11-minimal", "libpython3.11-stdlib", "libsqlite3-0", "libssl3", "libstdc++6"),
    *("libuuid1", "python3.11-minimal", "zlib1g"),
)
"""What Python and wheels need: the C and C++ libraries, the interpreter with the libraries of its modules, and the
certificates of public authorities."""
INTERPRETER = re.compile(r"(usr/bin/python3|usr/lib/python3|usr/share/doc/(lib)?python3)")
"""Paths that go into the layer of the interpreter."""
_LEAVE_OUT = re.compile(
    r"^usr/(bin/(?!python3)|sbin/|lib/[^/]+/(gconv|audit|engines-3|ossl-modules)/|lib/valgrind/|lib/(mime|binfmt\.d)/)"
    r"|^usr/share/(?!doc/[^/]+/copyright$|ca-certificates/)"
    r"|^usr/lib/python3\.\d+/(test|idlelib|lib2to3|pydoc_data|ensurepip|turtledemo|turtle\.py|__phello__|sitecustomize)"
    r"|^usr/lib/python3\.\d+/lib-dynload/(_curses|_dbm|_gdbm|nis|readline|_tkinter|_test|_xxtest|xxlimited)"
    r"|(^|/)__pycache__/|\.(a|h)$"
    r"|^etc/(?!debian_version|os-release)|^(home|root|proc|sys|dev|boot|media|mnt|srv|var|run|tmp|opt)/"
)


class DebianPackage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    version: str
    sha256: str


class BaseLock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The packages of one architecture of a release."""

    release: str
    architecture: str
    python: str
    packages: tuple[DebianPackage, ...]


def lock_of(platform: Platform, folder: Path | None = None) -> BaseLock:
    """The lock in a folder, or that which is part of Argosy. Raises NotFound, InvalidArgument."""
    name = file_name(platform)
    place = folder or resources.files("argosy.images") / "locks"
    try:
        return parse(
            (place / name).read_bytes(), BaseLock, f"{place / name} is no lock of Debian packages", InvalidArgument
        )
    except FileNotFoundError:
        raise NotFound(f"{folder} holds no {name}; make the locks with  argosy image lock -o {folder}") from None


def file_name(platform: Platform) -> str:
    """The name of a lock in its folder."""
    return f"{RELEASE}-{platform.debian}.json"


def cache_folder() -> Path:
    """Where downloads are kept: `argosy` in XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "argosy"


def download(lock: BaseLock, folder: Path) -> list[Path]:
    """The files of the packages of a lock; those not in `folder` yet are downloaded by apt. Raises Unsupported where
    apt or the release is another one, Unavailable where it fails, BadPackage for a file that is not as locked."""
    files = [folder / f"{package.sha256}.deb" for package in lock.packages]
    lacking = [package for package, file in zip(lock.packages, files, strict=True) if not file.exists()]
    if not lacking:
        return files
    folder.mkdir(parents=True, exist_ok=True)
    check_release(lock.release)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".apt-") as work:
        place = Path(work)
        apt(place, lock.architecture, "apt-get", "update")
        wanted = [f"{package.name}={package.version}" for package in lacking]
        apt(place, lock.architecture, "apt-get", "download", *wanted)
        for package in lacking:
            escaped = package.version.replace(":", "%3a")
            found = next(place.glob(f"{package.name}_{escaped}_*.deb"), None)
            digest = hash_of(found) if found else "none"
            if found is None or digest != package.sha256:
                raise BadPackage(
                    f"{package.name} {package.version} has the SHA-256 {digest}, not {package.sha256} as it is locked; "
                    "it was altered on its way, or the archive gives out another file under this version"
                )
            found.rename(folder / f"{package.sha256}.deb")
    return files


def check_release(release: str) -> None:
    """Raise Unsupported unless the apt of this machine delivers packages of this release of Debian."""
    try:
        text = Path("/etc/os-release").read_text("utf-8")
    except OSError:
        text = ""
    named = dict(line.replace('"', "").split("=", 1) for line in text.splitlines() if "=" in line)
    instead = f"build on a machine with Debian {release}"
    if not shutil.which("apt-get"):
        raise Unsupported(f"the base of an image is made of Debian packages, and this machine has no apt: {instead}")
    if named.get("ID") != "debian" or named.get("VERSION_CODENAME") != release:
        raise Unsupported(
            f"the base of an image is made of packages of Debian {release}, and the apt of this machine is of "
            f"{named.get('PRETTY_NAME', 'another system')}: {instead}"
        )


def apt(work: Path, architecture: str, *command: str) -> str:
    """Run a command of apt for an architecture in the folder `work`, with no state of the system's but its sources.
    Returns its output. Raises Unavailable."""
    for name in ("lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True, exist_ok=True)
    (work / "status").touch()
    options = {
        "Dir::State": work,
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    environ = os.environ | {"LC_ALL": "C"}
    ran = subprocess.run([*command, *given], cwd=work, env=environ, capture_output=True, text=True, check=False)
    if ran.returncode:
        said = " ".join(line for line in ran.stderr.splitlines() if line.startswith("E:")) or ran.stderr[-300:]
        raise Unavailable(
            f"{' '.join(command)[:200]} failed: {said[:500]}. Packages of a lock that the archive no longer has: make "
            "a new one with  argosy image lock -o DIR  and build with  --lock DIR"
        )
    return ran.stdout


def tree_of(files: list[Path], platform: Platform) -> Tree:
    """The files of the packages as one root, with `/lib` and `/bin` merged into `/usr`."""
    tree, certificates = Tree(), b""
    with ThreadPoolExecutor() as pool:
        for part, found in pool.map(_unpacked, files):
            tree.nodes |= part.nodes
            certificates += found
    tree.file("etc/ssl/certs/ca-certificates.crt", certificates)
    tree.link("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt")
    for name in ("bin", "lib", "sbin", *(["lib64"] if "lib64" in platform.loader else [])):
        tree.link(name, f"usr/{name}")
        tree.folder(f"usr/{name}")
    for name in ("dev", "proc", "sys", "run", "root", "home"):
        tree.folder(name)
    return tree


def _unpacked(file: Path) -> tuple[Tree, bytes]:
    """The files of a package, and the certificates in it."""
    tree, certificates = Tree(), b""
    members = archive_members(file.read_bytes(), file.name)
    control = _control(members)
    tree.file(f"var/lib/dpkg/status.d/{_field(control, 'Package')}", control)
    with _tar(members, "data.tar") as data:
        for entry in data:
            path = re.sub(r"^(lib64|lib|bin|sbin)/", r"usr/\1/", entry.name.removeprefix("./"))
            if path.startswith("usr/share/ca-certificates/") and path.endswith(".crt"):
                certificates += _content(data, entry)
            elif not entry.isdir() and path and not _LEAVE_OUT.search(path):
                _add(tree, path, entry, data)
    return tree, certificates


def _add(tree: Tree, path: str, entry: tarfile.TarInfo, data: tarfile.TarFile) -> None:
    if entry.issym():
        tree.link(path, re.sub(r"^/(lib64|lib|bin|sbin)/", r"/usr/\1/", entry.linkname))
    elif entry.isreg():
        tree.file(path, _content(data, entry), program=bool(entry.mode & 0o100), strip=True)
    elif entry.islnk():
        tree.nodes[path] = tree.nodes[entry.linkname.removeprefix("./")]


def _content(data: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    reader = data.extractfile(entry)
    return reader.read() if reader else b""


def archive_members(data: bytes, where: str) -> dict[str, bytes]:
    """Name → content of the members of an `ar` archive, which a .deb is (deb(5)). Raises BadPackage."""
    if data[:8] != b"!<arch>\n":
        raise BadPackage(f"{where} is no Debian package")
    found: dict[str, bytes] = {}
    position = 8
    while position + 60 <= len(data):
        name, size = data[position : position + 16].decode().rstrip(" /"), int(data[position + 48 : position + 58])
        found[name] = data[position + 60 : position + 60 + size]
        position += 60 + size + size % 2
    return found


def _tar(members: dict[str, bytes], kind: str) -> tarfile.TarFile:
    name = next((name for name in members if name.startswith(kind)), "")
    if not name:
        raise BadPackage(f"a Debian package has no {kind}")
    return tarfile.open(fileobj=io.BytesIO(members[name]))


def _control(members: dict[str, bytes]) -> bytes:
    with _tar(members, "control.tar") as control:
        return _content(control, control.getmember("./control"))


def _field(control: bytes, name: str) -> str:
    found = re.search(rf"^{name}: *(\S+)", control.decode(), re.MULTILINE)
    return found[1] if found else ""


def make_lock(platform: Platform) -> BaseLock:
    """Lock what the apt of this machine delivers now for this platform. Raises Unsupported, Unavailable."""
    check_release(RELEASE)
    with tempfile.TemporaryDirectory(prefix="argosy-apt-") as work:
        place = Path(work)
        apt(place, platform.debian, "apt-get", "update")
        apt(place, platform.debian, "apt-get", "download", *PACKAGES)
        packages: list[DebianPackage] = []
        for file in place.glob("*.deb"):
            data = file.read_bytes()
            control = _control(archive_members(data, file.name))
            name, version = _field(control, "Package"), _field(control, "Version")
            packages.append(DebianPackage(name=name, version=version, sha256=hashlib.sha256(data).hexdigest()))
    ordered = tuple(sorted(packages, key=lambda package: package.name))
    return BaseLock(release=RELEASE, architecture=platform.debian, python=PYTHON, packages=ordered)
