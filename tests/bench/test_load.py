import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import load
from bench.load import Load


def unescape(text: str) -> bytes:
    return re.sub(rb"\\(\d{3})", lambda m: bytes([int(m[1])]), text.encode())


@given(st.binary())
def test_any_body_survives_the_lua_literal(body: bytes):
    text = load.lua_string(body)
    assert text.isascii()
    assert not re.search(r'["\n\r]', text)
    assert unescape(text) == body


def test_the_script_carries_body_headers_and_plain_format_specifiers():
    script = load.lua_script(b'{"a":"100%"}', {"Content-Type": "application/json"})
    assert 'local bodies, at = { "{\\034a\\034:\\034100%\\034}" }, 0' in script
    assert "at = at % #bodies + 1" in script
    assert '{ "a", "b" }' in load.lua_script([b"a", b"b"], {})
    assert 'wrk.headers["Content-Type"] = "application/json"' in script
    assert '"requests": %d, "seconds": %f' in script


def test_the_result_is_found_among_other_output():
    text = 'Running 1s test\nBENCH {"requests": 10, "seconds": 2.0, "errors": 0, "p50_us": 1.5, "p99_us": 9.0}\nbye\n'
    assert load.parse(text) == Load(10, 2.0, 0, 1.5, 9.0)
    assert load.parse(text).rate == 5.0


def test_output_without_a_result_is_an_error_that_shows_it():
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1")


def test_what_is_emitted_is_parsed(capsys: pytest.CaptureFixture[str]):
    seen = Load(3, 1.0, 1, 2.0, 3.0, 0.5)
    load.emit(seen)
    assert load.parse(capsys.readouterr().out) == seen


def test_a_missing_wrk_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(load.Unavailable, match="apt-get install wrk"):
        load.wrk("http://127.0.0.1:1", b"", {}, 1, 1)


@pytest.mark.parametrize(("q", "value"), [(0, 1), (0.5, 50), (0.99, 99), (1, 100)])
def test_percentiles_are_nearest_ranks(q: float, value: int):
    assert load.percentile([float(n) for n in range(1, 101)], q) == value
