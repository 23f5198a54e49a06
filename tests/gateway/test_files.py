"""The watched files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.gateway.files import XdsFiles
from argosy.spec.errors import StorageFull


def test_versions_grow_over_restarts(tmp_path):
    files = XdsFiles(tmp_path)
    assert [files.write("a.json", [{"name": "x"}]), files.write("b.json", [])] == ["1", "2"]
    later = XdsFiles(tmp_path)
    assert later.names() == {"a.json", "b.json"}
    assert later.write("a.json", []) == "3"
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"version_info": "3", "resources": []}


@given(
    before=st.dictionaries(st.sampled_from("abc"), st.integers()),
    after=st.dictionaries(st.sampled_from("abc"), st.integers()),
)
def test_only_differences_are_changes(tmp_path_factory, before, after):
    files = XdsFiles(tmp_path_factory.mktemp("x"))
    for name, value in before.items():
        files.write(name, [{"v": value}])
    changed = files.changed({name: [{"v": value}] for name, value in after.items()})
    assert changed.keys() == {name for name, value in after.items() if before.get(name) != value}


def test_a_broken_file_is_written_anew(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"version_info": "7", "reso')
    files = XdsFiles(tmp_path)
    assert files.get("a.json") is None
    assert files.changed({"a.json": []}) == {"a.json": []}


def test_nothing_else_is_left_behind(tmp_path):
    files = XdsFiles(tmp_path)
    files.write("a.json", [])
    files.write_again("a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    files.remove(["a.json", "never.json"])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path, monkeypatch):
    files = XdsFiles(tmp_path)
    files.write("a.json", [{"name": "old"}])

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageFull, match="No space left"):
        files.write("a.json", [{"name": "new"}])
    assert files.get("a.json").resources == [{"name": "old"}]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
