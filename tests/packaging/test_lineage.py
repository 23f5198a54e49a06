import hashlib
import subprocess

import pytest

from argosy.packaging.lineage import digest_of, lineage_of
from argosy.spec.errors import BadPackage
from tests.programs import need

LIMIT = 10**9


def test_digests_follow_content_and_paths(tmp_path):
    (tmp_path / "b").write_bytes(b"x")
    assert digest_of(tmp_path / "b", LIMIT) == f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    one = digest_of(tmp_path, LIMIT)
    (tmp_path / "b").rename(tmp_path / "c")
    assert digest_of(tmp_path, LIMIT) != one
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadPackage, match="symbolic link"):
        digest_of(tmp_path, LIMIT)


def test_lineage_without_git(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x")
    found = lineage_of(path)
    assert found.git_commit == ""
    assert found.source_path == str(path)
    assert found.pushed_at.endswith("Z")


def test_lineage_with_git_names_the_commit_and_hides_passwords(tmp_path):
    def git(*arguments):
        command = [need("git"), "-c", "user.name=n", "-c", "user.email=e", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    path = tmp_path / "m.onnx"
    path.write_bytes(b"x")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("remote", "add", "origin", "https://me:secret@host/repo")
    found = lineage_of(path)
    assert found.git_commit == git("rev-parse", "HEAD")
    assert (found.git_dirty, found.git_remote) == (False, "https://host/repo")
    path.write_bytes(b"y")
    assert lineage_of(path).git_dirty
