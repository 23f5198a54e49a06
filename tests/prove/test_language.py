"""Short runs of what `make prove` measures of language models; `prove.tokens` is gone through in tests/language."""

import subprocess
import sys

import pytest

SHORT = {
    "llm": ["--requests", "3", "--seconds", "0.2"],
    "placement": ["--seconds", "0.2", "--sizes", "1", "--connections", "2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("proof", SHORT)
def test_a_short_run_prints_its_table(proof: str):
    argv = [sys.executable, "-m", f"prove.{proof}", *SHORT[proof]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| 1 KB |" in done.stdout
