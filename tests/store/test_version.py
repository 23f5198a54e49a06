from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.endpoint import NAME
from argosy.spec.errors import InvalidArgument
from argosy.store.version import MAX_NUMBER, Reference

names = st.from_regex(NAME, fullmatch=True)


@given(names, st.integers(1, MAX_NUMBER), names)
def test_what_is_written_is_read(name: str, number: int, alias: str):
    assert Reference.parse(name) == Reference(name=name)
    assert Reference.parse(f"{name}:{number}") == Reference(name=name, number=number)
    assert Reference.parse(f"{name}@{alias}") == Reference(name=name, alias=alias)


@given(st.text())
def test_anything_else_is_refused_clearly(text: str):
    with suppress(InvalidArgument):
        reference = Reference.parse(text)
        assert reference.name or reference.digest


@pytest.mark.parametrize(
    "text", ["a:", "a:0", "a:-1", "a:1:2", "a:²", "a:99999999999999999999", "a@", "@b", ":1", "a:2147483648"]
)
def test_numbers_and_parts_have_bounds(text: str):
    with pytest.raises(InvalidArgument):
        Reference.parse(text)


def test_an_alias_after_a_colon_is_understood():
    with pytest.raises(InvalidArgument, match="digits@champion"):
        Reference.parse("digits:champion")
