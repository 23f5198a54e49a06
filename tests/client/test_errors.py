import pytest

from argosy.client.errors import from_answer
from argosy.spec import errors


@pytest.mark.parametrize(
    ("status", "body", "cls", "message"),
    [
        (404, b'{"error": "no such model"}', errors.NotFound, "no such model"),
        (400, b'{"error": "x", "code": "nonsense"}', errors.InvalidArgument, "x"),
        (422, b'{"error": "x", "code": "untrusted"}', errors.Untrusted, "x"),
        (404, b'{"error": "x", "code": "untrusted"}', errors.NotFound, "x"),
        (422, b'{"detail": [{"loc": ["body"]}]}', errors.InvalidArgument, '[{"loc":["body"]}]'),
        (500, b'{"error": "x"}', errors.Internal, "x"),
        (501, b'{"error": "x"}', errors.Unsupported, "x"),
        (502, b"<html>Bad\n  Gateway</html>", errors.Internal, "<html>Bad Gateway</html>"),
        (503, b"", errors.Unavailable, "there answered 503 without saying why"),
        (400, b"\xff\xfe", errors.InvalidArgument, "\ufffd\ufffd"),
    ],
)
def test_reads(status, body, cls, message):
    error = from_answer(status, body, "there", 2.0)
    assert type(error) is cls
    assert error.message == message
    assert error.retry_after == 2.0
