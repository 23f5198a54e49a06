"""The example of a shadow in docs/guides/rollouts.md, as the platform reads it."""

from argosy.control.admission import check_honoured
from argosy.spec import strict
from argosy.spec.endpoint import Endpoint
from argosy.spec.rollout import Shadow
from argosy.spec.settings import Settings
from argosy.targets.base import Capacity
from tests.docs import page


def test_the_declaration_with_a_shadow_is_one_that_the_platform_takes():
    texts = [block.text for block in page.blocks("docs/guides/rollouts.md") if block.language == "yaml"]
    (text,) = [text for text in texts if text.startswith("# digits.yaml\n")]
    endpoint = strict.load_yaml(text, Endpoint, "digits.yaml")
    check_honoured(endpoint, Settings(), Capacity(cores=2, memory=2**30))
    assert endpoint.rollout.shadow == Shadow(share=0.5, requests=200)
