import pytest

from argosy.client.address import Address, model_path, parse
from argosy.spec.errors import InvalidArgument


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("http://h:8080", Address(base="http://h:8080")),
        ("http://h:8080/", Address(base="http://h:8080")),
        ("h:8080", Address(base="http://h:8080")),
        ("https://h/v2", Address(base="https://h")),
        ("https://h/prefix/v2/", Address(base="https://h/prefix")),
        ("http://h/v2/models/digits/infer", Address(base="http://h", model="digits")),
        ("http://h/v2/models/a%2Fb/versions/3/infer", Address(base="http://h", model="a/b", version="3")),
        ("http://h/a/v2/models/digits", Address(base="http://h/a", model="digits")),
        ("unix:/run/x.sock", Address(base="http://localhost", socket="/run/x.sock")),
        ("unix:///run/x.sock", Address(base="http://localhost", socket="/run/x.sock")),
    ],
)
def test_parse(url, want):
    assert parse(url) == want


@pytest.mark.parametrize("url", ["", "http://", "ftp://h", "http://h:port", "http://[::1", "h:99999"])
def test_parse_refuses(url):
    with pytest.raises(InvalidArgument, match="is no URL"):
        parse(url)


@pytest.mark.parametrize(
    ("base", "loopback"), [("http://127.0.0.1:1", True), ("http://[::1]", True), ("http://h", False)]
)
def test_loopback(base, loopback):
    assert Address(base=base).loopback is loopback


def test_model_path():
    assert model_path("a b/c", None) == "/v2/models/a%20b%2Fc"
    assert model_path("m", "3", "infer") == "/v2/models/m/versions/3/infer"
