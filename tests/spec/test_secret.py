"""Variables that a declaration gives a model."""

import pytest

from argosy.control.revision import revision_of
from argosy.spec import secret
from argosy.spec.endpoint import Endpoint, Resources, Runtime
from argosy.spec.errors import InvalidArgument
from tests.language import packages

REFUSED = """LD_PRELOAD LD_LIBRARY_PATH PYTHONPATH PYTHONSTARTUP ARGOSY_HOME PATH HOME TMPDIR GCONV_PATH GLIBC_TUNABLES
A-B 1A"""


@pytest.mark.parametrize("name", REFUSED.split())
def test_names_that_lead_programs_elsewhere_are_refused(name: str):
    with pytest.raises(InvalidArgument, match=r"runtime\.env"):
        Runtime(env={name: "x"})


@pytest.mark.parametrize("value", ["a\0b", "x" * 9000, "$", "$A B", "$(id)"])
def test_values_are_texts_or_references(value: str):
    with pytest.raises(InvalidArgument, match=r"runtime\.env\.A"):
        Runtime(env={"A": value})


def test_references_are_looked_up_at_the_start():
    env = Runtime(env={"MODE": "fast", "LDAP_URL": "x", "KEY": "$BUCKET_KEY"}).env
    assert secret.variables(env, {"BUCKET_KEY": "secret"}, "e") == {"MODE": "fast", "LDAP_URL": "x", "KEY": "secret"}
    with pytest.raises(InvalidArgument, match="BUCKET_KEY is not set"):
        secret.variables(env, {}, "e")


class Version:
    ref, digest, name, number = "m:1", "sha256:ab", "m", 1
    manifest = packages.manifest(facts=None)


def test_a_revision_of_before_keeps_its_id_and_each_declaration_makes_another():
    def id_of(runtime: Runtime) -> str:
        endpoint = Endpoint(name="m", model="m:1", runtime=runtime, resources=Resources(cpu=1.5))
        return revision_of(endpoint, Version()).id  # type: ignore[arg-type]

    assert id_of(Runtime()) == "35c970c87a", "as the release before said"
    changed = [
        Runtime(env={"A": "1"}),
        Runtime(env={"A": "2"}),
        Runtime(network=True),
        Runtime(subprocesses=True),
        Runtime(sandbox="required"),
    ]
    assert len({id_of(each) for each in (Runtime(), *changed)}) == 6
    assert id_of(Runtime(env={"A": "1", "B": "2"})) == id_of(Runtime(env={"B": "2", "A": "1"}))
