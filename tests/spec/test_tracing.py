import pytest

from argosy.spec import settings
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Home
from argosy.spec.tracing import Tracing


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example.org/", "https://otel.example.org/v1/traces"),
        ("https://otel.example.org/tenant/traces?x=1", "https://otel.example.org/tenant/traces?x=1"),
    ],
)
def test_without_a_path_that_of_traces_is_meant(url, target):
    assert Tracing(url=url).target == target


@pytest.mark.parametrize(
    "url", ["127.0.0.1:4318", "grpc://x:4317", "http://", "http://x:99999", "http://a b", "http://u:p@x", "http://x/#y"]
)
def test_what_is_no_collector_is_refused(url):
    with pytest.raises(InvalidArgument, match=r"tracing\.url must be as in"):
        Tracing(url=url)


def test_a_share_is_a_part():
    with pytest.raises(InvalidArgument, match=r"tracing\.share must be at most 1"):
        Tracing(share=5.0)


def test_secrets_come_from_the_environment():
    tracing = Tracing(headers={"authorization": "$OTEL", "x-tenant": "a"})
    assert tracing.secrets({"OTEL": "Bearer x"}) == {"authorization": "Bearer x", "x-tenant": "a"}
    with pytest.raises(InvalidArgument, match=r"tracing\.headers\.authorization: the variable OTEL is not set"):
        tracing.secrets({})
    with pytest.raises(InvalidArgument, match="must be those of an HTTP header"):
        tracing.secrets({"OTEL": "x\r\nhost: y"})
    with pytest.raises(InvalidArgument, match="must be those of an HTTP header"):
        Tracing(headers={"a b": "c"})


def test_a_variable_holds_headers_as_pairs(tmp_path):
    found = settings.load(Home(tmp_path), {"ARGOSY_TRACING_HEADERS": "authorization=$OTEL, x-tenant=a=b"})
    assert found.tracing.headers == {"authorization": "$OTEL", "x-tenant": "a=b"}
    with pytest.raises(InvalidArgument, match="ARGOSY_TRACING_HEADERS must be as in name=value"):
        settings.load(Home(tmp_path), {"ARGOSY_TRACING_HEADERS": "authorization"})
