"""Lineage from a repository, beside what git itself says; and repositories made to do harm to whoever looks at them."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from argosy.packaging import checkout, lineage
from argosy.packaging.checkout import Checkout, checkout_of


def git(where: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e", "-c", "protocol.file.allow=always", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(command, cwd=where, check=True, capture_output=True, text=True, env=clean)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit of `m.onnx` and `sub/a`."""
    tree = tmp_path / "repo"
    (tree / "sub").mkdir(parents=True)
    (tree / "m.onnx").write_bytes(b"x")
    (tree / "sub" / "a").write_bytes(b"a")
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    return tree


def head(tree: Path) -> str:
    return git(tree, "rev-parse", "HEAD")


@pytest.mark.parametrize("version", ["2", "4"])
def test_what_git_says(repo: Path, version: str) -> None:
    git(repo, "update-index", "--index-version", version)
    git(repo, "remote", "add", "origin", "https://me:se@cr#et@host/repo")
    assert checkout_of(repo) == Checkout(head(repo), "https://host/repo", False)
    assert checkout_of(repo / "sub").dirty is False
    (repo / "sub" / "a").write_bytes(b"b")
    assert checkout_of(repo).dirty
    assert checkout_of(repo / "sub").dirty
    git(repo, "commit", "-qam", "second")
    assert checkout_of(repo) == Checkout(head(repo), "https://host/repo", False)
    (repo / "m.onnx").write_bytes(b"longer")
    assert checkout_of(repo / "sub").dirty is False
    (repo / "m.onnx").unlink()
    assert checkout_of(repo).dirty


def test_a_file_that_was_only_touched_is_not_changed(repo: Path) -> None:
    os.utime(repo / "m.onnx", (1, 1))
    assert checkout_of(repo).dirty is False


def test_what_is_staged_is_not_called_clean(repo: Path) -> None:
    (repo / "m.onnx").write_bytes(b"y")
    git(repo, "add", "m.onnx")
    assert checkout_of(repo).dirty is None
    assert checkout_of(repo / "sub").dirty is False


def test_packed_refs_detached_heads_worktrees_and_submodules(repo: Path, tmp_path: Path) -> None:
    git(repo, "pack-refs", "--all")
    assert not (repo / ".git" / "refs" / "heads" / "main").exists()
    assert checkout_of(repo).commit == head(repo)
    git(repo, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    assert checkout_of(tmp_path / "linked") == Checkout(head(repo), "", False)
    git(repo, "checkout", "-q", "--detach")
    assert checkout_of(repo).commit == head(repo)
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "--quiet", "add", str(repo), "inner")
    assert checkout_of(outer / "inner").commit == head(repo)
    assert checkout_of(outer / "inner").remote == str(repo)


def test_sha256_repositories(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256")
    (tmp_path / "f").write_bytes(b"x")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    os.utime(tmp_path / "f", (1, 1))
    assert checkout_of(tmp_path) == Checkout(head(tmp_path), "", False)


def test_where_no_index_can_be_read_nothing_is_said_of_changes(repo: Path) -> None:
    index = repo / ".git" / "index"
    data = index.read_bytes()
    for broken in (b"", data[:20], data[:80], b"DIRC" + b"\xff" * 4000, data[:8] + b"\xff\xff\xff\xff" + data[12:]):
        index.unlink()
        index.write_bytes(broken)
        assert checkout_of(repo) == Checkout(head(repo), "", None)
    index.unlink()
    os.mkfifo(index)
    assert checkout_of(repo).dirty is None


def test_nothing_that_a_repository_configures_is_run(repo: Path, tmp_path: Path, monkeypatch) -> None:
    marker = tmp_path / "marker"
    run = f"touch {marker}"
    for key in (
        "core.fsmonitor",
        "filter.f.clean",
        "filter.f.smudge",
        "filter.f.process",
        "core.sshCommand",
        "core.pager",
    ):
        git(repo, "config", key, run)
    (repo / ".gitattributes").write_text("* filter=f diff=f\n")
    hooks = repo / ".git" / "hooks"
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction", "pre-commit"):
        (hooks / name).write_text(f"#!/bin/sh\n{run}\n")
        (hooks / name).chmod(0o755)
    (repo / "m.onnx").write_bytes(b"changed")
    monkeypatch.setattr(os, "posix_spawn", None)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", None)
        found = lineage.lineage_of(repo / "m.onnx")
    assert (found.git_commit, found.git_dirty) == (head(repo), True)
    assert not marker.exists()


def test_includes_are_not_followed(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('[remote "origin"]\n\turl = https://secret\n')
    (repo / ".git" / "config").write_text(f"[include]\n\tpath = {tmp_path / 'secret'}\n")
    assert checkout_of(repo) == Checkout(head(repo), "", False)


def test_a_git_file_that_names_another_repository_says_nothing_of_it(repo: Path, tmp_path: Path) -> None:
    """Else a model folder from elsewhere would take the commit and the address of a private repository along."""
    folder = tmp_path / "model"
    folder.mkdir()
    for target in (repo / ".git", repo, tmp_path, "/dev/zero", "../repo/.git", "\0", "x" * 10_000):
        (folder / ".git").write_text(f"gitdir: {target}\n")
        assert checkout_of(folder) == Checkout()
    (folder / ".git").unlink()
    (folder / ".git").symlink_to(repo / ".git")
    assert checkout_of(folder) == Checkout()


def test_a_repository_of_another_user_says_nothing(repo: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert checkout_of(repo) == Checkout()


@pytest.mark.parametrize(
    "text",
    [
        "ref: refs/heads/../../../../etc/passwd",
        "ref: /etc/passwd",
        "ref: refs/heads/.invalid",
        "ref: refs/heads/a.lock",
        "ref: refs/heads/" + "x/" * 5000,
        "ref: config",
        "ref: ",
        "",
        "0" * 39,
        "G" * 40,
        "\0" * 40,
    ],
)
def test_heads_that_lead_nowhere(repo: Path, text: str) -> None:
    (repo / ".git" / "HEAD").write_text(text)
    assert checkout_of(repo) == Checkout()


def test_loops_links_pipes_and_devices_in_place_of_files(repo: Path, tmp_path: Path) -> None:
    place = repo / ".git"
    main = place / "refs" / "heads" / "main"
    main.write_text("ref: refs/heads/main\n")
    assert checkout_of(repo) == Checkout()
    main.unlink()
    (tmp_path / "stolen").write_text("a" * 40)
    main.symlink_to(tmp_path / "stolen")
    assert checkout_of(repo) == Checkout()
    main.unlink()
    os.mkfifo(main)
    assert checkout_of(repo) == Checkout()
    main.unlink()
    (place / "refs" / "heads").rmdir()
    (place / "refs" / "heads").symlink_to(tmp_path)
    (tmp_path / "main").write_text("a" * 40)
    assert checkout_of(repo) == Checkout()
    for name in ("HEAD", "packed-refs", "config"):
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to("/dev/zero")
        assert checkout_of(repo) == Checkout()


def test_an_index_cannot_name_files_outside_of_the_work_tree(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    index = repo / ".git" / "index"
    index.write_bytes(index.read_bytes().replace(b"sub/a\0", b"../se\0"))
    assert checkout_of(repo).dirty is None


def test_huge_files_are_not_read(repo: Path) -> None:
    place = repo / ".git"
    git(repo, "pack-refs", "--all")
    for name in ("packed-refs", "index", "config"):
        with (place / name).open("ab") as file:
            file.truncate(1 << 40)
    tracemalloc.start()
    try:
        assert checkout_of(repo) == Checkout()
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_the_largest_files_that_are_read_take_bounded_memory(repo: Path) -> None:
    entry = bytes(24) + (0o100644).to_bytes(4, "big") + bytes(12) + bytes(20)
    longest = b"".join(entry + b"\x00\x01" + b"\x00" + b"a" * 4000 + b"\0" for _ in range(10))
    many = entry + b"\x00\x01" + b"\x01" + b"a\0"
    one = entry + b"\x00\x01" + b"\x00" + b"a\0"
    shapes = (one + many * (checkout.MAX_INDEX // len(many) - 8), one + longest, one * 200_000)
    trees = b"TREE" + (8_000_000).to_bytes(4, "big") + b"\x000 1\n" + bytes(20) + b"a\x000 1\n" * 1_000_000
    for shape in (*shapes, trees):
        (repo / ".git" / "index").write_bytes(b"DIRC" + (4).to_bytes(4, "big") + b"\x00\x0f\xff\xff" + shape)
        tracemalloc.start()
        try:
            assert checkout_of(repo).dirty is not False
            assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
        finally:
            tracemalloc.stop()


def test_no_process_is_needed_at_all(repo: Path) -> None:
    """In a child that may start none."""
    code = "\n".join(
        (
            "import sys",
            "from pathlib import Path",
            "from argosy.packaging.checkout import checkout_of",
            "starts = {'subprocess.Popen', 'os.system', 'os.posix_spawn', 'os.fork', 'os.exec'}",
            "sys.addaudithook(lambda name, _: sys.exit(name) if name in starts else None)",
            "print(checkout_of(Path(sys.argv[1])).commit)",
        )
    )
    done = subprocess.run([sys.executable, "-c", code, str(repo)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == head(repo)
