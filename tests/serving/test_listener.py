"""How many connections a listener takes."""

import resource

import pytest

from argosy.serving.listener import MOST, MOST_OF_GATEWAY, Listener
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime


@pytest.mark.parametrize(("address", "most"), [(Address(), MOST), (Address(path="/a.sock"), MOST_OF_GATEWAY)])
async def test_files_without_a_bound_are_enough(monkeypatch: pytest.MonkeyPatch, address: Address, most: int):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert Listener(lambda exchange: None, address, Runtime())._most == most
