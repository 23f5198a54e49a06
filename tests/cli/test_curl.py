"""What a deploy prints to be copied."""

from types import SimpleNamespace

import pytest

from argosy.cli import curl
from tests.language import packages

URL = "http://127.0.0.1:8080/v1"


@pytest.fixture
def generator(place, monkeypatch):
    """The store has one package, of a model that generates text."""
    manifest = packages.manifest()
    monkeypatch.setattr("argosy.client.local.stored_package", lambda digest: SimpleNamespace(folder="/nowhere"))
    monkeypatch.setattr("argosy.packaging.package.open_package", lambda folder: SimpleNamespace(manifest=manifest))


@pytest.mark.parametrize(
    ("public", "kept", "key"), [(True, False, "none"), (False, False, "$KEY"), (False, True, "$(")]
)
def test_a_language_model_comes_with_what_clients_of_openai_read(generator, monkeypatch, public, kept, key):
    monkeypatch.setattr(curl, "find", lambda home, name: kept or None)
    chat, base, own = curl.endpoint_call("sha256:0", "gemma", URL, public).splitlines()
    assert chat == "argosy chat gemma"
    assert base == "export OPENAI_BASE_URL=http://127.0.0.1:8080/v1"
    assert own.startswith(f"export OPENAI_API_KEY={key}")
