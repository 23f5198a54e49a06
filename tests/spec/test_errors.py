import signal

import pytest

from argosy.spec import errors, install


def test_every_code_has_statuses():
    table = errors.table()
    assert {"invalid_argument", "not_found", "unavailable", "internal"} <= set(table)
    for code, cls in table.items():
        assert cls.code == code
        assert 400 <= cls.http < 600
        assert 1 <= cls.grpc <= 16
        assert 1 <= cls.exit <= 10


def test_an_interruption_is_no_error_and_has_the_status_that_shells_give_it():
    assert errors.INTERRUPTED == 128 + signal.SIGINT
    assert errors.INTERRUPTED not in {cls.exit for cls in errors.table().values()}


def test_from_http():
    assert isinstance(errors.from_http(404, "x"), errors.NotFound)
    assert isinstance(errors.from_http(418, "x"), errors.InvalidArgument)
    assert isinstance(errors.from_http(502, "x"), errors.Internal)
    assert type(errors.from_http(500, "x")) is errors.Internal
    assert type(errors.from_http(501, "x")) is errors.Unsupported
    assert type(errors.from_http(422, "x")) is errors.BadPackage


def test_missing_extra_names_the_command():
    assert f"pip install {install.extras('xgboost')}" in str(errors.MissingExtra.named("xgboost", "an XGBoost model"))


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", "invalid_request"),
        (404, "invalid_request_error", "model_not_found"),
        (422, "invalid_request_error", "invalid_request"),
        (500, "server_error", "engine_failed"),
        (503, "server_error", "service_unavailable"),
    ],
)
def test_openai_s_errors_have_the_types_and_codes_that_clients_look_for(status, kind, code):
    found = errors.openai_error("no", status)["error"]
    assert (found["type"], found["code"]) == (kind, code)
    assert errors.openai_error("no", status, "not_found")["error"]["code"] == "not_found"
