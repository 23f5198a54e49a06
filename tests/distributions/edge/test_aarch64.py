"""The agent as an aarch64 program."""

import pytest

from prove import aarch64
from tests import programs
from tests.distributions.edge.packages import classifier, texts


@pytest.mark.slow
@pytest.mark.parametrize("make", [classifier, texts])
def test_the_golden_examples_pass_on_aarch64(tmp_path, make):
    programs.need(aarch64.QEMU)
    found = aarch64.golden(tmp_path / "package", make(tmp_path / "package"))
    assert found["machine"] == "aarch64"
    assert found["difference"] <= 1e-5
    assert found["rows"] > 1
    assert found["answer"]["model_version"] == "1"
