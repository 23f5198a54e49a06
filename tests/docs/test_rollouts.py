"""The example of a shadow in docs/rollouts.md, as the platform reads it."""

import re
from pathlib import Path

from argosy.control.honoured import check_honoured
from argosy.spec import strict
from argosy.spec.endpoint import Endpoint
from argosy.spec.rollout import Shadow
from argosy.spec.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "rollouts.md"


def test_the_declaration_with_a_shadow_is_one_that_the_platform_takes():
    (text,) = re.findall(r"^```yaml\n(# digits\.yaml\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    endpoint = strict.load_yaml(text, Endpoint, "digits.yaml")
    check_honoured(endpoint, Settings())
    assert endpoint.rollout.shadow == Shadow(share=0.5, requests=200)
