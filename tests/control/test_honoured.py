"""What would be ignored is refused."""

import pytest

from argosy.control.honoured import PENDING, check_honoured
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.guard import Guard
from argosy.spec.rollout import Rollout

USES = {"guard": {"guard": Guard()}, "rollout.testers": {"rollout": Rollout(testers=True)}}


def test_a_plain_declaration_passes():
    check_honoured(Endpoint(name="digits", model="digits:1", replicas=3))


@pytest.mark.parametrize("setting", sorted(USES.keys() & PENDING.keys()))
def test_a_setting_without_effect_is_named(setting: str):
    with pytest.raises(InvalidArgument, match=setting):
        check_honoured(Endpoint(name="digits", model="digits:1", **USES[setting]))
