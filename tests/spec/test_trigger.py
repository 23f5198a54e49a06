import pytest

from argosy.spec import strict
from argosy.spec.errors import InvalidArgument
from argosy.spec.trigger import Command, EstimatedDrop, RealisedDrop, Trigger, check_triggers

RETRAIN = {"kind": "command", "argv": ["python", "retrain.py"]}


def rule(**fields):
    return strict.convert(
        {"name": "retrain", "metric": "auroc", "when": "realised_drop", "run": RETRAIN} | fields, Trigger, "x"
    )


def test_both_kinds_are_read():
    found = rule(maturity=0.5, windows=2)
    assert isinstance(found, RealisedDrop)
    assert (found.maturity, found.windows, found.run) == (0.5, 2, Command(argv=("python", "retrain.py")))
    hook = {"kind": "webhook", "url": "https://ci.example/retrain", "secret": "$HOOK"}
    found = rule(when="estimated_drop", domain_auc=0.7, run=hook)
    assert isinstance(found, EstimatedDrop)
    assert (found.domain_auc, found.run.secret) == (0.7, "$HOOK")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"when": "estimated_drop", "maturity": 0.5}, "maturity"),
        ({"domain_auc": 0.5}, "domain_auc"),
        ({"when": "always"}, "always"),
        ({"name": "../../etc/passwd"}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"metric": "beauty"}, "metric"),
        ({"margin": -0.1}, "margin"),
        ({"margin": float("inf")}, "margin"),
        ({"against": float("nan")}, "against"),
        ({"windows": 0}, "windows"),
        ({"cooldown": -1.0}, "cooldown"),
        ({"maturity": 1.5}, "maturity"),
        ({"run": {"kind": "command", "argv": []}}, "argv"),
        ({"run": {"kind": "command", "argv": ["a\0b"]}}, "NUL"),
        ({"run": RETRAIN | {"environ": {"A=B": "x"}}}, "A=B"),
        ({"run": RETRAIN | {"environ": {"ARGOSY_HOME": "x"}}}, "ARGOSY_HOME"),
        ({"run": RETRAIN | {"timeout": 0}}, "timeout"),
        ({"run": RETRAIN | {"shell": True}}, "shell"),
        ({"run": {"kind": "webhook", "url": "https://ci.example", "secret": "s3cr3t"}}, "name a variable"),
        ({"run": {"kind": "webhook", "url": "file:///etc/passwd"}}, "http"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, said):
    with pytest.raises(InvalidArgument, match=said):
        rule(**fields)


def test_triggers_that_could_never_fire_are_refused():
    one = rule()
    check_triggers("flights", (one,), reference=True, watched=True)
    check_triggers("flights", (rule(against=0.9),), reference=False, watched=True)
    for triggers, reference, watched, said in (
        ((one,), True, False, "declare payload and monitor"),
        ((one,), False, True, "against"),
        ((rule(when="estimated_drop", against=0.9),), False, True, "monitor.reference"),
        ((one, one), True, True, "two of triggers"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            check_triggers("flights", triggers, reference, watched)
