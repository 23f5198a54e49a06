import numpy as np
import pytest

from argosy.packaging.optimize.calibration import split
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.signature import Signature, TensorSpec
from tests.packaging.optimize.networks import rows

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 16))
SIGNATURE = Signature(inputs=(X,), outputs=(X,), batched=True)


def keys(tensors):
    return {row.tobytes() for row in tensors[0].array}


def test_each_distinct_row_is_on_one_side(tmp_path):
    x = np.load(rows(tmp_path / "x.npz"))["x"]
    np.savez(tmp_path / "twice.npz", x=np.concatenate([x, x]))
    found = split(SIGNATURE, tmp_path / "twice.npz")
    assert (len(found.calibration[0].array), len(found.test[0].array)) == (100, 300)
    assert not keys(found.calibration) & keys(found.test)
    again = split(SIGNATURE, tmp_path / "x.npz")
    assert (again.test[0].array == found.test[0].array).all()


def test_a_folder_is_all_its_files(tmp_path):
    place = tmp_path / "rows"
    place.mkdir()
    rows(place / "a.npz", 200, 1)
    rows(place / "b.npz", 200, 2)
    (place / "notes.txt").write_text("no rows")
    assert len(split(SIGNATURE, place).test[0].array) == 300


def test_rows_to_judge_by_may_not_be_among_those_to_calibrate_on(tmp_path):
    x = np.load(rows(tmp_path / "x.npz"))["x"]
    np.savez(tmp_path / "test.npz", x=np.concatenate([x[:7], np.load(rows(tmp_path / "y.npz", seed=2))["x"]]))
    with pytest.raises(InvalidArgument, match=r"7 of the 407 rows of test.npz are among those of x.npz"):
        split(SIGNATURE, tmp_path / "x.npz", tmp_path / "test.npz")
    found = split(SIGNATURE, tmp_path / "x.npz", tmp_path / "y.npz")
    assert (len(found.calibration[0].array), len(found.test[0].array)) == (256, 400)


def test_too_few_rows_and_none_at_all(tmp_path):
    with pytest.raises(InvalidArgument, match="leaves 25 distinct rows to calibrate on and 75 to judge by"):
        split(SIGNATURE, rows(tmp_path / "x.npz", 100))
    with pytest.raises(NotFound, match="no file or folder"):
        split(SIGNATURE, tmp_path / "gone.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match="empty holds no rows"):
        split(SIGNATURE, tmp_path / "empty")
