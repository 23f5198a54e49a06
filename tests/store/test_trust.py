"""Trust is kept by digest in the store's own database, and what an earlier Argosy knew of it is taken over once."""

import pytest

from argosy.store.registry import Registry
from tests.store.samples import digest_of, model_lineage, model_manifest

"""The database of a home to which the commit before pushed `clean` (a pickle), `objected` (one with --trust), `scale`
(a Python class) and `data` (converted to ONNX)."""


@pytest.fixture
def registry(tmp_path):
    opened = Registry(f"sqlite:///{tmp_path / 'argosy.db'}")
    yield opened
    opened.database.close()


def register(registry, number, name="digits", **options):
    manifest, lineage = model_manifest(), model_lineage()
    return registry.register(name, digest_of(number), manifest=manifest, lineage=lineage, size=1, **options)


def test_nothing_is_trusted_unless_that_is_said(registry):
    assert register(registry, 1).trust is None
    assert not registry.trusted(digest_of(1))
    found = register(registry, 2, trusted=True).trust
    assert (found.by, found.objections) == ("ada", ())
    assert registry.resolve("digits:2").trust == found
    assert registry.resolve("digits:1").trust is None


def test_it_holds_for_the_package_under_every_name(registry):
    register(registry, 1, name="one")
    register(registry, 1, name="other", trusted=True)
    assert registry.resolve("one").trust is not None
    assert registry.versions("one")[0].trust is not None


def test_a_version_that_is_pushed_again_with_trust_gets_it_and_who_said_so_first_stays(registry):
    register(registry, 1)
    first = register(registry, 1, trusted=True)
    assert first.number == 1
    assert register(registry, 1, trusted=True).trust == first.trust
    assert register(registry, 1).trust == first.trust


def test_it_goes_with_the_last_version_of_the_package(registry):
    register(registry, 1, name="one", trusted=True)
    register(registry, 1, name="other")
    registry.remove("one:1")
    assert registry.trusted(digest_of(1))
    registry.remove("other:1")
    assert not registry.trusted(digest_of(1))
    assert register(registry, 1, name="one").trust is None
