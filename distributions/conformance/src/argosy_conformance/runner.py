"""Running the checks against one server."""

from collections.abc import Callable, Iterable
from importlib import import_module

from argosy.spec.errors import InvalidArgument, Unavailable
from argosy_conformance.check import CHECKS, GROUPS, Check, Failed, Mode, Skipped
from argosy_conformance.report import Report, Result
from argosy_conformance.rpc import Rpc
from argosy_conformance.subject import Subject
from argosy_conformance.transport import Transport


def run(
    url: str,
    *,
    model: str | None = None,
    grpc: str | None = None,
    key: str | None = None,
    checks: Iterable[str] | None = None,
    mode: Mode = "",
    disruptive: bool = False,
    drain: Callable[[], None] | None = None,
    timeout: float = 30.0,
    report: Callable[[Result], None] = lambda result: None,
) -> Report:
    """Judge the server at `url` by black-box requests.

    `checks` names groups or checks (all by default); `mode` is what the server is to do with requests that only fit;
    `grpc` is `HOST:PORT`; `disruptive` allows unloading and reloading
    models; `drain` makes the server end (a SIGTERM, say) and is called in the last check of all; `timeout` (seconds)
    bounds each request; `report` is called after each check. Raises InvalidArgument for a name that is no check, and
    Unavailable when nobody listens at `url`.
    """
    selected = select(checks)
    http = Transport(url, key, timeout)
    rpc = Rpc(grpc, key, timeout) if grpc else None
    subject = Subject(http, rpc, model=model, mode=mode, disruptive=disruptive, drain=drain)
    results: list[Result] = []
    try:
        _connect(http)
        for check in selected:
            results.append(judge(check, subject))
            report(results[-1])
        return Report(http.url, _model(subject), tuple(results))
    finally:
        http.close()
        if rpc:
            rpc.close()


def select(names: Iterable[str] | None = None) -> list[Check]:
    """The checks of these groups or ids, in the order of the groups. Raises InvalidArgument."""
    for group in GROUPS:
        import_module(f"argosy_conformance.{group}")
    ordered = sorted(CHECKS.values(), key=lambda check: ("drain" in check.needs, GROUPS.index(check.group)))
    if names is None:
        return ordered
    wanted = set(names)
    if unknown := wanted - set(GROUPS) - set(CHECKS):
        raise InvalidArgument(f"'{min(unknown)}' is no check and no group; the groups are {', '.join(GROUPS)}")
    return [check for check in ordered if check.id in wanted or check.group in wanted]


def judge(check: Check, subject: Subject) -> Result:
    """One check's verdict."""
    try:
        subject.http.fresh()
        subject.require(check.needs)
        note = check.run(subject) or ""
        return Result(check.id, check.group, check.title, "passed", note)
    except Skipped as skipped:
        return Result(check.id, check.group, check.title, "skipped", str(skipped))
    except Failed as failed:
        return Result(check.id, check.group, check.title, "failed", str(failed))
    except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        note = f"the answer is built so that it cannot be judged: {type(error).__name__}: {error}"
        return Result(check.id, check.group, check.title, "failed", note)


def _connect(http: Transport) -> None:
    try:
        http.connect().close()
    except Failed as failed:
        raise Unavailable(str(failed)) from None


def _model(subject: Subject) -> str | None:
    try:
        return subject.model
    except (Skipped, Failed):
        return None
