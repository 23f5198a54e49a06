"""Which revision a declaration means."""

from argosy.control.revision import revision_of
from argosy.spec.endpoint import Endpoint


class One:
    """A version of a model."""

    ref, digest, name, number = "m:1", "sha256:ab", "m", 1


def test_the_target_is_part_of_it_where_it_is_not_this_machine():
    found = {name: revision_of(Endpoint(name="m", model="m:1", target=name), One()) for name in ("", "local", "ray")}  # type: ignore[arg-type]
    assert found[""] == found["local"]
    assert found[""].target == "local"
    assert found["ray"].target == "ray"
    assert found["ray"].id != found[""].id
