"""What tests of nodes whose pods are processes share; each module has a `node` of its own."""

import httpx
import pytest

from tests.kubernetes.plane import Plane


@pytest.fixture
def client(kubernetes: Plane) -> httpx.Client:
    return kubernetes.client()


@pytest.fixture
def pods(kubernetes: Plane, node: object) -> str:
    """The path of the pods of a new namespace."""
    return f"/api/v1/namespaces/{kubernetes.namespace()}/pods"
