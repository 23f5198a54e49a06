"""The words for mirrors, sticky callers, activators and testers, and what is refused."""

import pytest

from argosy.gateway.model import Mirror, Sticky, Waiting
from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument
from tests.gateway.kit import api_key, one


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mirror(revision="r 1"), "mirror: revision id"),
        (lambda: Mirror(revision="r1", percent=0), "percent must be"),
        (lambda: Mirror(revision="r1", percent=101), "percent must be"),
        (lambda: Sticky(by="header"), "cannot be the header"),
        (lambda: Sticky(by="header", name="X-User"), "lower-case"),
        (lambda: Sticky(by="header", name="authorization"), "cannot be the header"),
        (lambda: Sticky(by="header", name="x-argosy-key-id"), "cannot be the header"),
        (lambda: Sticky(by="key", name="x"), "takes no name"),
        (lambda: Sticky(by="cookie", name="a=b"), "cookie's name"),
        (lambda: Sticky(by="cookie", seconds=0), "at least 1"),
        (lambda: Waiting(http=Address(path="relative")), "absolute"),
        (
            lambda: Waiting(http=Address(path="/w"), grpc=Address(path="/" + "x" * 107)),
            "set ARGOSY_HOME to a shorter folder",
        ),
        (lambda: Waiting(http=Address(path="/w"), seconds=0), "above 0"),
        (lambda: one("/s/a", mirror=Mirror(revision="r9")), "no revision 'r9' to mirror to"),
        (lambda: one("/s/a", auth=False, sticky=Sticky(by="key")), "sticky by key needs auth"),
        (lambda: api_key(scopes=("digits:other",)), "scope 'digits:other'"),
        (lambda: api_key(scopes=(":test",)), "scope"),
    ],
)
def test_what_cannot_be_is_said_clearly(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_scopes_for_testers():
    assert api_key(scopes=("digits:test", "*:test", "*")).scopes == ("digits:test", "*:test", "*")
