import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.protocol import tensorfile
from argosy.spec.errors import BadPackage
from argosy.spec.tensor import tensor
from tests.protocol.strategies import same, tensors


@given(st.lists(tensors(), max_size=4))
def test_round_trip(many):
    data = tensorfile.dump(many)
    assert data == tensorfile.dump(many)
    back = tensorfile.parse(data)
    assert all(same(a, b) for a, b in zip(back, many, strict=True))


def test_every_cut_is_refused():
    data = tensorfile.dump([tensor("x", np.arange(3)), tensor("s", np.array(["a", "bc"]))])
    for end in range(len(data)):
        with pytest.raises(BadPackage):
            tensorfile.parse(data[:end])
    with pytest.raises(BadPackage, match="1 binary bytes belong to no output"):
        tensorfile.parse(data + b"x")


def test_files(tmp_path):
    path = tmp_path / "t.oip"
    tensorfile.write(path, [tensor("x", np.arange(3))])
    assert same(tensorfile.read(path)[0], tensor("x", np.arange(3)))
    with pytest.raises(BadPackage, match="cannot be read"):
        tensorfile.read(tmp_path / "absent.oip")
