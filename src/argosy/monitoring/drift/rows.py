"""The comparison of whole rows as the drift monitor makes it: in a child process, with the rows of earlier windows."""

import logging
import math
import secrets
from pathlib import Path
from typing import Any

import msgspec

from argosy.monitoring.drift.detector import run_length
from argosy.monitoring.drift.sample import Answer, SampleJob
from argosy.monitoring.drift.window import Watched
from argosy.monitoring.multivariate.measure import ComparisonEvidence, ComparisonState, evaluate
from argosy.monitoring.performance import reference
from argosy.packaging.package import Package
from argosy.process.child import Child
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home
from argosy.store.durable import storage
from argosy.store.findings import Finding, Verdict, subject

LOG = logging.getLogger(__name__)
COMPUTE = "argosy.monitoring.drift.sample:compute"
NAMED = 3


class RowsState(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence, and the salt of the draws."""

    salt: str
    state: ComparisonState = ComparisonState()


class Rows:
    """`HOME/drift` has the rows of each endpoint that later ones are compared with; a window is `every` seconds."""

    def __init__(self, home: Home, child: Child, every: int) -> None:
        self._home, self._child, self._every = home, child, every
        self._folder = home.root / "drift"

    def evaluate(
        self, watched: Watched, endpoint: Endpoint, package: Package, digest: str, before: RowsState | None
    ) -> tuple[list[Finding], RowsState]:
        """Compare the window's rows. What goes wrong there costs no more than the findings of rows. `settle` once what
        was found is written."""
        before = before or RowsState(salt=secrets.token_hex(16))
        monitor, log = endpoint.monitor or Monitor(), watched.log
        try:
            with storage(self._folder):
                self._folder.mkdir(exist_ok=True, mode=0o700)
            job = SampleJob(
                payloads=str(self._home.payloads),
                endpoint=watched.endpoint,
                version=watched.version,
                package=str(package.folder),
                log=log,
                since=watched.start,
                until=watched.end,
                salt=before.salt,
                stored=str(self._file(watched.endpoint)),
                fresh=str(self._file(watched.endpoint, fresh=True)),
                absorb=not before.state.drifted,
                reference=_labelled(self._home, monitor, package, digest, log),
                season=monitor.season == "week",
            )
            with self._child:
                answer = self._child.run(COMPUTE, job, Answer)
        except (ArgosyError, OSError) as error:
            answer = Answer()
            LOG.warning("the rows of '%s' were not compared as a whole: %s", endpoint.name, error)
            self._file(endpoint.name, fresh=True).unlink(missing_ok=True)
        found, state = evaluate(answer.shifts, before.state, run_length("rows", self._every))
        return [_finding(watched, answer, one) for one in found], RowsState(salt=before.salt, state=state)

    def settle(self, endpoint: str) -> None:
        """From now on compare with what was drawn last, too."""
        fresh = self._file(endpoint, fresh=True)
        if fresh.exists():
            fresh.replace(self._file(endpoint))

    def forget(self, endpoint: str) -> None:
        """Remove the rows of an endpoint."""
        for fresh in (True, False):
            self._file(endpoint, fresh=fresh).unlink(missing_ok=True)

    def _file(self, endpoint: str, *, fresh: bool = False) -> Path:
        return self._folder / f"{endpoint}.rows{'.fresh' if fresh else ''}"


def _labelled(home: Home, monitor: Monitor, package: Package, digest: str, log: PayloadLog) -> str:
    """The labelled reference as the log would have it, if there is one that can be had."""
    if not monitor.reference:
        return ""
    try:
        return str(reference.scored(home, monitor, package, digest, log))
    except ArgosyError as error:
        LOG.warning("whole rows are compared without the labelled reference: %s", error.message)
        return ""


def _finding(watched: Watched, answer: Answer, one: ComparisonEvidence) -> Finding:
    found = one.shift
    causes = [{"name": subject(cause.name), "weight": cause.weight} for cause in found.causes]
    some = ", ".join(f"'{cause['name']}'" for cause in causes[:NAMED])
    detail: dict[str, Any] = {"margin": found.margin, "text": f"{found.text}; most by {some}" if some else found.text}
    detail |= {"causes": causes, "p": found.p, "before": answer.before, "zero": found.zero}
    return watched.finding(
        "multivariate",
        subject(found.method),
        answer.rows,
        Verdict.DRIFT if one.drifted else Verdict.NO_DRIFT,
        effect=found.effect,
        low=found.low,
        high=found.high,
        log_e=one.log_e if math.isfinite(one.log_e) else None,
        detail=detail,
    )
