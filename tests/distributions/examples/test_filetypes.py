import io
import json
import os

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argosy_examples import filetypes
from argosy_examples.needs import folder_of

magika = pytest.importorskip("magika")
MAGIKA = magika.Magika()
RECIPE = msgspec.json.decode(
    (folder_of("magika") / "models" / "standard_v3_3" / "config.min.json").read_bytes(), type=filetypes.Recipe
)


def of_magika(content):
    """The row that magika itself makes; None where it does without its network."""
    from magika.types import Seekable

    _, found = MAGIKA._get_result_or_features_from_seekable(Seekable(io.BytesIO(content)))
    return None if found is None else [*found.beg, *found.end]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("file") / "file"


@given(
    st.one_of(
        st.binary(max_size=64), st.builds(lambda a, n, b: a * n + b, st.binary(), st.integers(0, 400), st.binary())
    )
)
@example(b"")
@example(b"  \n\t" * 2000)
@example(b" " * 4090 + b"0123456789" + b" " * 4090)
@example(b"x" * 1024)
@example(b" 1234567 ")
@example(b" 12345678 ")
@example(b"\x00\x0b\x0c" + b"y" * 5000 + b"\x85\xa0\r\n")
def test_rows_are_those_of_magika(path, content):
    path.write_bytes(content)
    ours, theirs = filetypes.features(path, RECIPE), of_magika(content)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert ours.dtype == np.int32
        assert ours.tolist() == theirs


def test_kinds_are_words_of_magika():
    assert set(filetypes.KINDS.values()) <= set(RECIPE.target_labels_space)


def test_files_are_found_by_their_endings_and_chosen_by_a_seed(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.py").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").touch()
    (tmp_path / "sub" / "b.txt").touch()
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    found = filetypes.found([tmp_path, tmp_path])
    assert set(found) == {"python", "json"}
    assert filetypes.found([tmp_path], most=3)["python"] == [tmp_path / f"{name}.py" for name in ("0", "1", "10")]
    chosen = filetypes.pick(found)
    kinds = [kind for _, kind in chosen]
    assert kinds.count("python") == filetypes.EACH
    assert [path.name for path, kind in chosen if kind == "json"] == ["a.json"]
    assert len({path for path, _ in chosen}) == len(chosen)
    assert filetypes.pick(found) == chosen


def test_answers_are_held_against_the_endings_and_against_magika(tmp_path):
    paths = [tmp_path / "a.py", tmp_path / "b.json"]
    paths[0].write_text("import os\n\n\ndef main(argv):\n    print(os.getcwd(), argv)\n" * 20)
    paths[1].write_text(json.dumps([{"name": "argosy", "list": [1, 2, 3], "nested": {"a": None}}] * 20, indent=2))
    kinds = ("python", "json")
    row = {kind: np.eye(len(RECIPE.target_labels_space))[RECIPE.target_labels_space.index(kind)] for kind in kinds}

    def judged(*answers):
        outputs = {"target_label": np.stack([row[answer] for answer in answers])}
        return filetypes.judge(outputs, kinds, paths, RECIPE.target_labels_space)

    assert judged("python", "json").good
    wrong = judged("json", "json")
    assert (wrong.value, wrong.agrees) == (0.5, False)


def test_files_that_may_not_be_read_are_left_out(tmp_path, monkeypatch):
    (tmp_path / "a.py").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert filetypes.pick({"python": [tmp_path / "a.py"]}) == []
