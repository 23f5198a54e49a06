import pytest

from argosy.packaging.language.template import MAX_BYTES, Templates, scan
from tests.language.weights import CHAT


def test_plain_templates_have_nothing_to_tell():
    found = scan(Templates(texts=(CHAT, "{% set a = 1 %}{{ messages[0]['x'] | trim | upper }}{{ range(3) }}")))
    assert (found.scan.verdict, found.scan.objections, found.beyond) == ("data-only", (), ())


@pytest.mark.parametrize(
    ("text", "beyond"),
    [
        ("{% macro f(x) %}{{ x }}{% endmacro %}{{ f(1) }}", ("macro f",)),
        ("{{ raise_exception('no') }}{{ strftime_now('%Y') }}", ("call raise_exception()", "call strftime_now()")),
        ("{% for k, v in x.items() %}{{ v.split('a')[0] }}{% endfor %}", ("method .items()", "method .split()")),
        ("{% for x in y %}{% break %}{% endfor %}{% generation %}a{% endgeneration %}", ()),
    ],
)
def test_what_is_beyond_loops_is_listed(text, beyond):
    found = scan(Templates(texts=(text,)))
    assert (found.beyond, found.scan.verdict) == (beyond, "data-only")


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("{{ ''.__class__.__mro__ }}", "__class__"),
        ("{{ x['__globals__'] }}", "__globals__"),
        ("{{ x | attr('_private') }}", "_private"),
        ("{{ x | attr('_' ~ y) }}", "a name that is calculated"),
        ("{% include 'other' %}", "include of another file"),
        ("{% import 'other' as o %}", "import of another file"),
        ("{% extends 'other' %}", "extends of another file"),
        ("x" * (MAX_BYTES + 1), f"of more than {MAX_BYTES} bytes"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested too deeply"),
    ],
)
def test_what_no_template_needs_is_objected_to(text, objection):
    found = scan(Templates(texts=(text,)))
    assert found.scan.verdict == "objected"
    assert any(objection in each for each in found.scan.objections)


def test_a_syntax_error_is_told_and_left_to_the_engine():
    found = scan(Templates(texts=("{% for %}",)))
    assert found.beyond[0].startswith("a syntax error in line 1: ")
    assert found.scan.verdict == "data-only"
