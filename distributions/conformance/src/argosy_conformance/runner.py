"""Running the checks against one server."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from argosy.spec.errors import InvalidArgument, Unavailable
from argosy_conformance.check import CHECKS, CONTRACTS, GROUPS, Check, Failed, Mode, Skipped
from argosy_conformance.report import Report, Result
from argosy_conformance.rpc import Rpc
from argosy_conformance.subject import Subject
from argosy_conformance.transport import Transport

if TYPE_CHECKING:
    from argosy_conformance.clouds.awslambda import RuntimeApi


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
    contract: str = "",
    rows: list[Any] | None = None,
    routes: Mapping[str, str] | None = None,
    models: Sequence[str] = (),
    timeout: float = 30.0,
    report: Callable[[Result], None] = lambda result: None,
) -> Report:
    """Judge the server at `url` by black-box requests.

    `checks` names groups or checks (all by default); `mode` is what the server is to do with requests that only fit;
    `grpc` is `HOST:PORT`; `disruptive` allows unloading and reloading
    models; `drain` makes the server end (a SIGTERM, say) and is called in the last check of all; `timeout` (seconds)
    bounds each request, ten times as long where text is generated; `report` is called after each check.

    With a `contract` its suite is run instead: `rows` are two that the model takes, where its metadata says nothing;
    `routes` are paths by `predict` and `health`; `models` are places of models for a multi-model endpoint. For `lambda`
    the suite listens at `url`, as the Runtime API. Raises InvalidArgument for a name that is no check or no contract,
    and Unavailable when nobody listens at `url`.
    """
    selected = select(checks, contract)
    http = Transport(url, key, 10 * timeout if contract == "openai" else timeout)
    rpc = Rpc(grpc, key, timeout) if grpc else None
    runtime = _listen(http) if contract == "lambda" else None
    subject = Subject(
        *(http, rpc),
        model=model,
        mode=mode,
        disruptive=disruptive,
        drain=drain,
        rows=rows,
        routes=routes,
        models=models,
        runtime_api=runtime,
    )
    results: list[Result] = []
    try:
        if runtime is None:
            _connect(http)
        for check in selected:
            results.append(judge(check, subject))
            report(results[-1])
        named = model if contract else _model(subject)
        return Report(http.url, named, tuple(results), contract)
    finally:
        if runtime is not None:
            runtime.close()
        http.close()
        if rpc:
            rpc.close()


def select(names: Iterable[str] | None = None, contract: str = "") -> list[Check]:
    """The checks of these groups or ids, in the order of the groups: those of the protocol, or of a contract. Raises
    InvalidArgument."""
    if contract and contract not in CONTRACTS:
        raise InvalidArgument(f"'{contract}' is no contract; there are {', '.join(CONTRACTS)}")
    groups = (*CONTRACTS[contract], contract) if contract else GROUPS
    for group in GROUPS:
        import_module(f"argosy_conformance.{group}")
    if contract:
        module = {"lambda": "clouds.awslambda", "openai": "openai"}.get(contract, f"clouds.{contract}")
        import_module(f"argosy_conformance.{module}")
    ours = [check for check in CHECKS.values() if check.group in groups]
    ordered = sorted(ours, key=lambda check: ("drain" in check.needs, groups.index(check.group)))
    if names is None:
        return ordered
    wanted = set(names)
    if unknown := wanted - set(groups) - {check.id for check in ours}:
        raise InvalidArgument(f"'{min(unknown)}' is no check and no group; the groups are {', '.join(groups)}")
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


def _listen(http: Transport) -> "RuntimeApi":
    from argosy_conformance.clouds.awslambda import RuntimeApi

    try:
        return RuntimeApi(http.parts.hostname or "127.0.0.1", http.parts.port or 9001)
    except OSError as error:
        raise Unavailable(f"the suite cannot listen at {http.url}: {error}") from None


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
