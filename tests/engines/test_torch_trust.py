"""What torch itself is told of a file that nobody vouches for. Runs where torch is not installed, too."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from argosy.engines import load, torch_file
from argosy.spec.errors import BadPackage, Untrusted


def test_torch_unpickles_tensors_alone_unless_the_caller_vouches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def load_program(path: str) -> None:
        seen.append(os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD"))
        raise RuntimeError("no program")

    stub = SimpleNamespace(set_num_threads=lambda _: None, export=SimpleNamespace(load=load_program))
    monkeypatch.setitem(sys.modules, "torch", stub)
    monkeypatch.setattr(torch_file, "objections", lambda path: [])
    (tmp_path / "m").write_bytes(b"x")
    for trusted in (False, True):
        with pytest.raises(BadPackage, match="no program"):
            load("torch", tmp_path / "m", trusted=trusted)
    assert seen == ["1", None]
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    monkeypatch.setattr(torch_file, "objections", lambda path: ["a pickle"])
    with pytest.raises(Untrusted, match="a pickle"):
        load("torch", tmp_path / "m", settings={"trusted_pickle": True})
