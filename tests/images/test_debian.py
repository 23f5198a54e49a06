import hashlib
import io
import tarfile

import pytest

from argosy.images import debian
from argosy.images.debian import BaseLock, DebianPackage
from argosy.images.platforms import PLATFORMS
from argosy.spec.errors import BadPackage, NotFound, Unsupported


def _deb(files, control=b"Package: x\nVersion: 1\n"):
    members = b""
    for name, content in (("control.tar", {"./control": control}), ("data.tar", files)):
        inner = io.BytesIO()
        with tarfile.open(fileobj=inner, mode="w") as archive:
            for path, data in content.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        data = inner.getvalue()
        members += (
            f"{name:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return b"!<arch>\n" + members


def test_libraries_are_merged_into_usr_and_documents_are_left_out(tmp_path):
    file = tmp_path / "x.deb"
    files = {
        "./lib/x86_64-linux-gnu/libx.so.1": b"library",
        "./usr/share/doc/x/copyright": b"licence",
        "./usr/share/doc/x/changelog.gz": b"changes",
        "./usr/share/ca-certificates/mozilla/a.crt": b"certificate\n",
        "./bin/sh": b"shell",
    }
    file.write_bytes(_deb(files))
    nodes = debian.tree_of([file], PLATFORMS["linux/amd64"]).nodes
    assert nodes["usr/lib/x86_64-linux-gnu/libx.so.1"].read() == b"library"
    assert nodes["lib"].link == "usr/lib"
    assert nodes["etc/ssl/certs/ca-certificates.crt"].read() == b"certificate\n"
    assert nodes["var/lib/dpkg/status.d/x"].read().startswith(b"Package: x")
    assert "usr/share/doc/x/copyright" in nodes
    assert not {"usr/share/doc/x/changelog.gz", "usr/bin/sh"} & nodes.keys()


@pytest.mark.parametrize(
    "system", ["ID=ubuntu\nVERSION_CODENAME=noble\nPRETTY_NAME=Ubuntu\n", "ID=debian\nVERSION_CODENAME=trixie\n"]
)
def test_another_system_is_told_what_it_can_do(monkeypatch, tmp_path, system):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("argosy.images.debian.Path.read_text", lambda *_: system)
    with pytest.raises(Unsupported, match="packages of Debian bookworm"):
        debian.check_release("bookworm")


def test_a_machine_without_apt_is_told_what_it_can_do(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(Unsupported, match="has no apt"):
        debian.check_release("bookworm")


def _lock(sha256):
    return BaseLock(
        release="bookworm",
        architecture="amd64",
        python="3.11",
        packages=(DebianPackage(name="x", version="1:2", sha256=sha256),),
    )


def test_a_file_that_is_not_as_locked_is_refused_and_not_kept(monkeypatch, tmp_path):
    def apt(work, architecture, *command):
        if command[1] == "download":
            (work / "x_1%3a2_amd64.deb").write_bytes(b"altered")

    monkeypatch.setattr(debian, "check_release", lambda release: None)
    monkeypatch.setattr(debian, "apt", apt)
    with pytest.raises(BadPackage, match="x 1:2 has the SHA-256"):
        debian.download(_lock("0" * 64), tmp_path)
    assert not list(tmp_path.iterdir())
    good = hashlib.sha256(b"altered").hexdigest()
    assert debian.download(_lock(good), tmp_path) == [tmp_path / f"{good}.deb"]
    monkeypatch.setattr(debian, "apt", lambda *_: pytest.fail("asked apt for what is there"))
    debian.download(_lock(good), tmp_path)


def test_locks_of_both_architectures_name_the_same_packages():
    locks = [debian.lock_of(platform) for platform in PLATFORMS.values()]
    assert [[each.name for each in lock.packages] for lock in locks] == [sorted(debian.PACKAGES)] * 2


def test_a_folder_without_locks_says_how_to_make_them(tmp_path):
    with pytest.raises(NotFound, match="argosy image lock -o"):
        debian.lock_of(PLATFORMS["linux/arm64"], tmp_path)
