"""The blocks of docs/guides/embedded.md, run as a reader would."""

import pytest

from tests import programs
from tests.docs import page


@pytest.mark.slow
def test_embedded(reader):
    for program in ("gcc", "arm-none-eabi-gcc", "qemu-system-arm", "emcc"):
        programs.need(program)
    said = page.run("docs/guides/embedded.md", reader, shown=("c", "js", "text"))
    assert "self-test on mps2-an500: passed" in said
