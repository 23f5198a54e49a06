"""Short runs of what `make prove` measures of language models; `prove.tokens` is gone through in tests/language."""

from argparse import Namespace
from pathlib import Path

import pytest

from prove import llm, placement


@pytest.mark.slow
async def test_what_the_gateway_adds_is_measured(capsys: pytest.CaptureFixture[str]):
    await llm.run(Namespace(requests=3, seconds=0.2))
    said = capsys.readouterr().out
    assert [f"| {size} KB |" in said for size in llm.SIZES] == [True] * 3
    assert "an event of a stream" in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", placement.KINDS)
def test_every_placement_answers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(placement, "SIZES", (1,))
    monkeypatch.setattr(placement, "CONNECTIONS", (2,))
    engines = [placement.started(placement.engine, path) for path in placement.sockets(tmp_path)]
    try:
        found = placement.measure(kind, tmp_path, 0.2)
    finally:
        for each in engines:
            each.terminate()
            each.join()
    assert found[1, 2].rate > 0
