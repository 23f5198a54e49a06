import math
import subprocess
import sys
import tracemalloc
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from argosy.spec import foreign
from argosy.spec.errors import InvalidArgument
from argosy.spec.strict import decode, load_yaml

SCALARS = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@given(VALUES)
def test_what_pyyaml_writes_is_read_as_it_was(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assume(yaml.safe_load(text) == value)
    assert foreign.document(text, "x") == value


@given(st.text("-+.:_0123456789abcdefnilxyNIL~ \n'\"[]{},", max_size=24))
def test_no_text_is_read_otherwise_than_by_pyyaml_but_for_dates_and_numbers_to_the_base_60(text):
    try:
        mine = foreign.document(text, "x")
    except InvalidArgument:
        return
    theirs = yaml.safe_load(text)
    pending = [(mine, theirs)]
    while pending:
        one, other = pending.pop()
        if isinstance(one, list):
            pending += zip(one, other, strict=True)
        elif isinstance(one, dict):
            assert len(one) == len(other)
            pending += zip(one.values(), other.values(), strict=True)
        elif type(one) is not type(other):
            assert isinstance(one, str), (one, other)
            assert ":" in one or "-" in one
        else:
            assert one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "anchors and aliases"),
        ("a: &a 1", "anchors and aliases"),
        ("a: *b", "anchors and aliases"),
        ("a:\n  <<: {b: 1}", "merge keys"),
        ("&a [*a]", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [true]", "python/object"),
        ("a: !!binary aGk=", "binary"),
        ("a: !!set {x, y}", "set"),
        ("a: !!timestamp 2020-01-01", "timestamp"),
        ("a: !!int word", "no int"),
        ("!!omap [a: 1]", "omap"),
        ("[" * 100 + "]" * 100, "deeper than"),
        ("- " * 100, "deeper than"),
        ("{a: " * 100 + "}" * 100, "deeper than"),
        ("? [a]\n: b", "a key must be"),
        ("a: 1\na: 2", "stands twice"),
        ("1: a\ntrue: b", "stands twice"),
        ("a: 1\n---\nb: 2", "2 documents"),
        ("a: " + "9" * 100, "100 characters"),
        ("a: 0x" + "f" * 100, "102 characters"),
        ("- a\n" * (foreign.MAX_NODES + 1), "more than"),
        ("a: |\n " + "x" * foreign.MAX_BYTES, "larger than"),
        (b"a: \xff\xfe", "not valid YAML"),
        ("a: \0", "not valid YAML"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(InvalidArgument, match=said):
        foreign.document(text, "x")


def test_dates_and_clock_times_stay_text():
    assert foreign.document("a: 2020-01-01\nb: 12:30\nc: 2020-01-01T00:00:00Z", "x") == {
        "a": "2020-01-01",
        "b": "12:30",
        "c": "2020-01-01T00:00:00Z",
    }


def test_declarations_are_read_the_same_way():
    with pytest.raises(InvalidArgument, match="aliases"):
        load_yaml(BOMB, dict, "model.yaml")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b'{"a":' * 500_000,
        b"[" * 1_000_000 + b"]" * 1_000_000,
        b"[" + b"[]," * 1_000_000 + b"[]]",
        b"[1" + b",1" * 1_000_000 + b"]",
        b'"' + b"x" * foreign.MAX_BYTES + b'"',
        b"{",
        b"\xff",
    ],
)
def test_json_bombs(text):
    with pytest.raises(InvalidArgument):
        foreign.json(text, "x")


def test_json_is_nested_as_deep_as_the_interpreter_bears_and_no_deeper():
    assert foreign.json(b"[[1]]", "x") == [[1]]
    with pytest.raises(InvalidArgument, match="nested too deep"):
        foreign.json(b"[" * 100_000 + b"]" * 100_000, "x")


WORST = (
    "- a\n" * 1_000_000,
    "{" + "a," * 1_000_000,
    "[" * 4_000_000,
    "? " * 2_000_000,
    BOMB * 1000,
    "&a [*a, " * 400_000,
)


@pytest.mark.parametrize("text", [text[: foreign.MAX_BYTES] for text in WORST])
def test_no_document_takes_much_memory(text):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument):
            foreign.document(text, "x")
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_child_with_little_memory_reads_them_all():
    """What tracemalloc does not see: the buffers of the C library."""
    code = "\n".join(
        (
            "import resource, sys",
            "from argosy.spec import foreign",
            "from argosy.spec.errors import InvalidArgument",
            "import yaml",
            "foreign.document('a: 1', 'x')",
            "from tests.spec.test_foreign import WORST",
            "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()",
            "resource.setrlimit(resource.RLIMIT_AS, (used + (96 << 20),) * 2)",
            "for text in WORST:",
            "    try: foreign.document(text[: foreign.MAX_BYTES], 'x')",
            "    except InvalidArgument: continue",
            "    sys.exit('accepted')",
        )
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_declared_types_with_free_values_are_no_way_to_nest_deeper():
    class Declared(msgspec.Struct, forbid_unknown_fields=True):
        x: dict[str, Any] = {}

    with pytest.raises(InvalidArgument, match="nested too deep"):
        decode(b'{"x":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", Declared, "x")
