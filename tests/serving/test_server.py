import logging

from argosy.serving.server import Sparse


def test_callers_cannot_fill_the_log():
    sparse, passed = Sparse(3), []
    for second, count in ((1, 100), (2, 2), (3, 1)):
        for number in range(count):
            record = logging.LogRecord("x", logging.WARNING, "", 0, "line %d", (number,), None)
            record.created = second + number / 1000
            if sparse.filter(record):
                passed.append(record.getMessage())
    assert passed == ["line 0", "line 1", "line 2", "line 0 (97 lines before it were left out)", "line 1", "line 0"]
