"""The blocks of docs/guides/placement.md, run as a reader would."""

import pytest

from argosy.spec.placement import Replan
from argosy.spec.strict import load_yaml
from tests.docs import page


@pytest.mark.slow
def test_placement(reader):
    pytest.importorskip("highspy")
    found = list[dict[str, Replan]]()
    checks = {"yaml": lambda text: found.append(load_yaml(text, dict[str, Replan], "the block"))}
    said = page.run("docs/guides/placement.md", reader, checks=checks, shown=["text"])
    assert found == [{"replan": Replan(apply=True, budget=40.0)}]
    assert "chat on nebius/eu-north/H100/spot: " in said
    assert "$/day more" in said
    assert "no plan costs less than" in said
    assert '"supply": "nebius/eu-north/H100/spot"' in said
    assert "eu-north answers in 0.11 s" in said
    assert "chat (short) from eu, 900/s cannot be served: " in said
    assert "more than the quotas allow" in said
    assert "static peak" in said
