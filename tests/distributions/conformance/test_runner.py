import pytest

from argosy.spec.errors import InvalidArgument, Unavailable
from argosy_conformance import run, select
from argosy_conformance.check import GROUPS, Check, Failed, Skipped
from argosy_conformance.runner import judge
from argosy_conformance.subject import Subject
from argosy_conformance.transport import Transport
from tests.distributions.conformance.reference_grpc import reference


def test_every_group_has_checks_and_titles_are_unique_within_it():
    checks = select()
    assert {check.group for check in checks} == set(GROUPS)
    assert len({(check.group, check.title) for check in checks}) == len(checks)


def test_what_ends_the_server_comes_last():
    assert select()[-1].id == "readiness.drain"


def test_selection_by_group_and_by_id():
    assert {check.group for check in select(["health", "ids.long"])} == {"health", "ids"}
    with pytest.raises(InvalidArgument, match="'nonsense' is no check and no group"):
        select(["nonsense"])


def test_nobody_there():
    with pytest.raises(Unavailable, match="cannot connect"):
        run("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [(Failed("seen"), "failed"), (Skipped("why"), "skipped"), (KeyError("odd"), "failed"), (None, "passed")],
)
def test_verdicts(raised, verdict):
    def check(subject):
        if raised:
            raise raised

    subject = Subject(Transport("http://127.0.0.1:1"))
    assert judge(Check("ids.x", "ids", "x", (), check), subject).verdict == verdict


def test_without_a_model_or_grpc_their_checks_are_skipped_with_the_reason():
    with reference() as (url, _, _):
        report = run(url, checks=["ids.long", "grpc_service.live", "repository.reload", "readiness.drain"])
    notes = {result.id: result.note for result in report.of("skipped")}
    assert "--grpc" in notes["grpc_service.live"]
    assert "--disruptive" in notes["repository.reload"]
    assert "--pid" in notes["readiness.drain"]
    assert report["ids.long"].verdict == "passed", "the index names a model"
