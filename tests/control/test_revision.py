"""Which revision a declaration means."""

import pytest

from argosy.control.revision import revision_of
from argosy.spec.endpoint import Endpoint
from argosy.spec.language import Language, LanguageModel
from tests.language import packages

FOUR = Language(context=4096, slots=4)


class One:
    """A version of a model."""

    ref, digest, name, number = "m:1", "sha256:ab", "m", 1
    manifest = packages.manifest(facts=None)


class Generator(One):
    """A version of a language model."""

    manifest = packages.manifest(engine="llamacpp")


def test_the_target_is_part_of_it_where_it_is_not_this_machine():
    found = {name: revision_of(Endpoint(name="m", model="m:1", target=name), One()) for name in ("", "local", "ray")}  # type: ignore[arg-type]
    assert found[""] == found["local"]
    assert found[""].target == "local"
    assert found["ray"].target == "ray"
    assert found["ray"].id != found[""].id


def test_a_language_model_has_the_settings_of_its_engine_in_its_id():
    found = [
        revision_of(Endpoint(name="m", model="m:1", language=language), version)  # type: ignore[arg-type]
        for language, version in ((None, One()), (None, Generator()), (Language(), Generator()), (FOUR, Generator()))
    ]
    assert [each.language for each in found] == [None, Language(), Language(), FOUR]
    assert found[1].id == found[2].id
    assert len({each.id for each in found}) == 3


def test_adapters_are_no_part_of_it_where_replicas_load_them():
    def found(engine: str, *adapters: str, target: str = "local") -> str:
        version = Generator()
        version.manifest = packages.manifest(engine=engine)
        endpoint = Endpoint(name="m", model="m:1", target=target, language=Language(adapters=adapters))  # type: ignore[arg-type]
        return revision_of(endpoint, version).id  # type: ignore[arg-type]

    assert found("vllm", "a:1") == found("vllm", "a:2", "b:1")
    assert found("vllm") != found("vllm", "a:1")
    assert found("vllm", "a:1", target="ray") != found("vllm", "a:2", target="ray")
    assert found("llamacpp", "a:1") != found("llamacpp", "a:2")


@pytest.mark.parametrize(("kind", "encodes"), [("encoder", True), ("reranker", True), ("generator", False)])
def test_an_encoder_is_known_as_one(kind, encodes):
    version = One()
    version.manifest = packages.manifest(engine="llamacpp", facts=LanguageModel(kind=kind, architecture="bert"))
    assert revision_of(Endpoint(name="m", model="m:1"), version).encodes is encodes  # type: ignore[arg-type]
