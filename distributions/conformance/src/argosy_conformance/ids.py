"""Request ids: given back as they came, whatever they hold."""

from functools import partial

from argosy_conformance.check import check
from argosy_conformance.expect import error, that
from argosy_conformance.subject import Subject

GIVEN = {
    "present": "request-1",
    "unicode": "é漢字😀\u200b",
    "long": "x" * 10_240,
    "awkward": 'quotes " \\ and\nlines \x01',
}


def _echo(subject: Subject, given: str) -> str | None:
    seen = subject.ask(subject.sample, id=given).id
    that(seen == given, f"sent id {given[:40]!r} ({len(given)} characters), got {str(seen)[:40]!r}")
    return None


for _name, _given in GIVEN.items():
    check(f"ids.{_name}", f"an id is echoed exactly: {_name}", needs=("model",))(partial(_echo, given=_given))


@check("ids.absent", "without an id the request succeeds, and the answer has one of its own", needs=("model",))
def absent(subject: Subject) -> str | None:
    seen = subject.ask(subject.sample).id
    return None if seen else "the answer has no id; KServe's schema requires one"


@check("ids.empty", "an empty id is echoed", needs=("model",))
def empty(subject: Subject) -> str | None:
    seen = subject.ask(subject.sample, id="").id
    if seen == "":
        return None
    that(seen is None or len(seen) > 0, f"sent an empty id, got {seen!r}")
    return f"an empty id counts as none: got {seen!r}"


@check("ids.type", "an id that is no string is refused", needs=("model",))
def wrong_type(subject: Subject) -> str | None:
    return error(subject.judge({"id": 7, "inputs": [item.json() for item in subject.sample]}), (400,), (422,))


@check("ids.not_kept", "an id does not stay for the next request on the connection", needs=("model",))
def not_kept(subject: Subject) -> str | None:
    subject.ask(subject.sample, id="mine-alone")
    seen = subject.ask(subject.sample).id
    that(seen != "mine-alone", "a request without an id got the id of the one before")
    return None
