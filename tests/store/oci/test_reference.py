"""Names of content in registries."""

import pytest

from argosy.spec.errors import InvalidArgument
from argosy.store.oci.reference import RemoteReference, is_loopback, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("registry.example/models/digits:1", RemoteReference("registry.example", "models/digits", "1")),
        ("registry.example:5000/digits", RemoteReference("registry.example:5000", "digits")),
        (f"localhost/a/b__c/d-e@{DIGEST}", RemoteReference("localhost", "a/b__c/d-e", "", DIGEST)),
        (f"localhost:5000/x:v1.2_3@{DIGEST}", RemoteReference("localhost:5000", "x", "v1.2_3", DIGEST)),
        ("[::1]:5000/x:1", RemoteReference("[::1]:5000", "x", "1")),
    ],
)
def test_references(text: str, found: RemoteReference):
    assert parse(text) == found
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("digits:1", "names no registry"),
        ("models/digits:1", "names no registry"),
        ("https://registry.example/digits:1", "without https://"),
        ("registry.example/Digits:1", "is no repository"),
        ("registry.example/a//b", "is no repository"),
        ("registry.example/a/../b", "is no repository"),
        ("registry.example/" + "a" * 256, "is no repository"),
        ("registry.example/a:", "is no tag"),
        ("registry.example/a:-b", "is no tag"),
        ("registry.example/a@sha256:12", "is no digest"),
        ("registry.example:99999/a", "is no host"),
        ("user@registry.example/a", "names no registry"),
        ("reg_istry.example/a", "is no host"),
    ],
)
def test_what_is_none(text: str, said: str):
    with pytest.raises(InvalidArgument, match=said):
        parse(text)


def test_loopback():
    assert all(map(is_loopback, ("localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:80")))
    assert not any(map(is_loopback, ("localhost.example", "registry.example:5000", "128.0.0.1", "1127.0.0.1")))
