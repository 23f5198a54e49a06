"""What a declaration would change."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.control.plan import difference, plan
from argosy.control.revision import revision_of
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.rollout import Rollout, Step
from argosy.spec.scaling import Scaling
from argosy.store.endpoints import Declared, Serving
from argosy.store.version import Version
from tests.store.samples import digest_of, model_lineage, model_manifest

OLD = Endpoint(name="digits", model="digits:1")


def version(number: int) -> Version:
    return Version(
        name="digits",
        number=number,
        digest=digest_of(number),
        size=1,
        created="",
        manifest=model_manifest(),
        lineage=model_lineage(),
    )


def declared(generation: int) -> Declared:
    return Declared(
        endpoint=OLD,
        revision=revision_of(OLD, version(1)).id,
        serving=Serving(),
        generation=generation,
        created="",
        updated="",
    )


@pytest.mark.parametrize(
    ("changes", "number", "action", "fields"),
    [
        ({}, 1, "nothing", []),
        ({}, 2, "revision", ["version"]),
        ({"model": "digits:2"}, 2, "revision", ["model"]),
        ({"model": "digits@champion"}, 1, "settings", ["model"]),
        ({"runtime": Runtime(threads=2)}, 1, "revision", ["runtime.threads"]),
        ({"replicas": 2}, 1, "scale", ["replicas"]),
        ({"replicas": 2, "public": True}, 1, "scale", ["replicas", "public"]),
        ({"retries": 0}, 1, "settings", ["retries"]),
        ({"rollout": Rollout(strategy="canary")}, 1, "settings", ["rollout.strategy"]),
    ],
)
def test_what_would_happen(changes, number, action, fields):
    new = msgspec.structs.replace(OLD, **changes)
    found = plan(declared(3), new, version(number))
    assert (found.action, [change.field for change in found.changes], found.generation) == (action, fields, 3)


def test_a_new_endpoint_tells_what_is_not_as_by_default():
    found = plan(None, Endpoint(name="digits", model="digits:1", retries=5), version(1))
    assert found.action == "create"
    assert [str(change) for change in found.changes] == ["name: - → digits", "model: - → digits:1", "retries: - → 5"]


def test_bounds_in_place_of_a_number():
    new = msgspec.structs.replace(OLD, replicas=Scaling(max=3))
    fields = {change.field: change for change in difference(OLD, new)}
    assert (fields["replicas"].old, fields["replicas"].new) == (1, None)
    assert (fields["replicas.max"].old, fields["replicas.max"].new) == (None, 3)
    assert plan(declared(1), new, version(1)).action == "scale"


ENDPOINTS = st.builds(
    Endpoint,
    name=st.just("digits"),
    model=st.sampled_from(["digits:1", "digits:2"]),
    replicas=st.one_of(st.integers(0, 3), st.builds(Scaling, max=st.integers(1, 3))),
    retries=st.integers(0, 2),
    rollout=st.sampled_from([Rollout(), Rollout(strategy="canary", steps=(Step(weight=5), Step(weight=10)))]),
)


@given(old=ENDPOINTS, new=ENDPOINTS)
def test_there_is_a_difference_exactly_where_two_differ(old: Endpoint, new: Endpoint):
    assert bool(difference(old, new)) == (old != new)
    assert [c.field for c in difference(old, new)] == list(dict.fromkeys(c.field for c in difference(old, new)))
