"""A network that the default recipe ruins without a word, on files of this machine."""

import numpy as np
import pytest

from argosy.packaging.optimize import optimize
from argosy.packaging.optimize.gate import Gate
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push
from argosy_examples import filetypes

pytest.importorskip("magika")


@pytest.mark.slow
def test_the_default_recipe_is_rejected_and_a_better_one_wins(store, tmp_path, monkeypatch):
    monkeypatch.setattr(optimize, "RECIPES", dict.fromkeys(("int8-default", "int8-clipped")))
    monkeypatch.setattr(filetypes, "EACH", 24)
    case = filetypes.prepare(tmp_path, lambda _: None)
    np.savez(tmp_path / "files.npz", bytes=case.inputs[0].array)
    push(case.source, name="magika", store=store, options=PushOptions(), report=lambda _: None)
    options = optimize.OptimizeOptions(
        rows=tmp_path / "files.npz", gate=Gate(min_agreement=0.97, min_speedup=0.0, worst_class=0.0), minutes=30
    )
    found, version = optimize.optimize(store, "magika:1", options, lambda _: None)
    ruined, better = found.tries
    assert ruined.agreement < 0.5
    assert ruined.rejected.startswith("agrees on ")
    assert better.agreement >= 0.97
    assert (found.recipe, version.ref) == ("int8-clipped", "magika:2")
    assert better.size * 3 < case.source.stat().st_size
