"""What texts lose before they are kept."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.recorder.redact import PATTERNS, completed, every_text, luhn, patterns, steps, sure, without

SECRETS = {
    "email": ("ada@example.org", "First.Last+tag@mail.example.co.uk", "josé@exämple.de"),
    "card": ("4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "6011000990139424"),
    "key": (
        "sk-proj-abcdEFGH1234567890abcd",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "aB3" * 12,
        "xoxb-123456789012-abcdef",
        "ak_0123456789ab_" + "0f" * 32,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nx\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA that goes on",
    ),
}
ALL = [(kind, secret) for kind, secrets in SECRETS.items() for secret in secrets]
WORDS = st.text(st.sampled_from("abc xyz,.!?é中\n"), max_size=30)


@pytest.mark.parametrize(("kind", "secret"), ALL, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(ALL)])
def test_each_is_found_where_it_is_wanted_and_stays_where_not(kind: str, secret: str):
    text = f"Look: {secret}"
    assert patterns(text, (kind,)) == f"Look: [{kind}]"
    assert patterns(text, [other for other in PATTERNS if other != kind]) == text


def test_a_bearer_token_keeps_its_word():
    header = "Authorization: Bearer abc123def456ghi789=="
    assert patterns(header, PATTERNS) == "Authorization: Bearer [key]"
    assert patterns("a bearer responsibilities chart", PATTERNS) == "a bearer responsibilities chart"


@pytest.mark.parametrize(
    "text", ["1234 5678 9012 3456", "call 030 12345678", "2026-11-27 14:30:12", "9" * 40, "a@b", "#12"]
)
def test_what_only_resembles_one_stays(text: str):
    assert patterns(text, PATTERNS) == text


@given(st.lists(st.tuples(WORDS, st.sampled_from(ALL)), min_size=1, max_size=4), WORDS)
def test_none_survives_among_other_text(parts: list[tuple[str, tuple[str, str]]], end: str):
    text = "".join(f"{before} {secret} " for before, (_, secret) in parts) + end
    found = patterns(text, PATTERNS)
    for _, (_, secret) in parts:
        assert secret not in found


@given(st.integers(min_value=10**11, max_value=10**17 - 1), st.sampled_from(["", " ", "-"]), st.integers(1, 6))
def test_every_number_with_a_good_last_digit_is_a_card(number: int, between: str, group: int):
    digits = "4" + str(number)
    digits += next(last for last in "0123456789" if luhn(digits + last))
    spelled = between.join(digits[at : at + group] for at in range(0, len(digits), group))
    assert patterns(f"pay {spelled} now", ("card",)) == "pay [card] now"


@pytest.mark.parametrize(("kind", "secret"), ALL, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(ALL)])
def test_a_secret_that_was_cut_goes_with_the_end(kind: str, secret: str):
    private = (secret.splitlines() * 2)[1][:6]
    for left in range(6, len(secret)):
        assert private not in patterns(sure(f"It is {secret[:left]}"), (kind,))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4) | st.text(), st.booleans(), st.data())
def test_json_that_was_cut_anywhere_can_be_read(value: Any, ascii_only: bool, data: st.DataObject):
    text = json.dumps(value, ensure_ascii=ascii_only)
    at = data.draw(st.integers(0, len(text)))
    found = json.loads(completed(text[:at]))
    assert at < len(text) or found == value


def test_what_was_there_before_the_cut_is_kept():
    cut = '[{"role":"user","content":"a \\"b\\" c"},{"role":"user","content":"half of \\u00'
    assert json.loads(completed(cut)) == [
        {"role": "user", "content": 'a "b" c'},
        {"role": "user", "content": "half of "},
    ]
    assert json.loads(completed('[{"role":"user","na')) == [{"role": "user"}]
    assert len(completed("[" * 100_000)) == 200_000


def test_fields_are_named_by_their_path():
    assert steps("$.messages[*].content[0].text") == ("messages", "[*]", "content", "[0]", "text")
    assert [steps(wrong) for wrong in ("messages", "$", "$messages", "$.a..b", "$.a[x]", "$.a ")] == [None] * 6
    asked = {"messages": [{"name": "Ada", "content": "Hi"}, {"name": {"a": 1}}, "x"], "user": "Ada"}
    found = without(asked, steps("$.messages[*].name") or ())
    assert found == {"messages": [{"name": "[redacted]", "content": "Hi"}, {"name": "[redacted]"}, "x"], "user": "Ada"}
    assert without(asked, steps("$.messages[0]") or ())["messages"][0] == "[redacted]"
    assert without(asked, steps("$.nothing.here[1]") or ()) == asked


def test_texts_are_changed_wherever_they_are():
    value = {"ada@example.org": ["x", {"deep": "mail ada@example.org"}, 1, None]}
    assert every_text(value, lambda text: patterns(text, PATTERNS)) == {
        "[email]": ["x", {"deep": "mail [email]"}, 1, None]
    }
