"""Looks at whole rows: what they are compared with, and what was found of them."""

import logging
import math
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from argosy.alerting import incident
from argosy.monitoring.drift.budget import run_length
from argosy.monitoring.drift.compute import Answer, Job
from argosy.monitoring.drift.window import Watched, raised
from argosy.monitoring.multivariate.watch import ComparisonEvidence, ComparisonState, look
from argosy.monitoring.performance import reference
from argosy.packaging.package import Package
from argosy.process.child import ONE_THREAD, Child
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, Unavailable
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home
from argosy.store.durable import storage
from argosy.store.findings import Finding, subject

LOG = logging.getLogger(__name__)
COMPUTE = "argosy.monitoring.drift.compute:compute"
SECONDS = 300.0
"""The longest that one comparison may take."""
NAMED = 3


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """Between looks: the evidence, and the salt of the draws."""

    salt: str
    state: ComparisonState = ComparisonState()


class Rows:
    """`folder` holds the rows of each endpoint that later ones are compared with; looks come every `every` seconds."""

    def __init__(self, home: Home, package: Callable[[str], Package], folder: Path, every: int) -> None:
        self._home, self._package, self._folder, self._every = home, package, folder, every
        what = "the comparison of whole rows"
        self._child = Child(what, timeout=SECONDS, failure=Unavailable, environ=ONE_THREAD, nice=10)

    def look(
        self, watched: Watched, endpoint: Endpoint, digest: str, before: Remembered | None
    ) -> tuple[list[Finding], Remembered]:
        """Compare the window's rows in a process of its own. What goes wrong there costs this look at rows, and no
        other. `settle` once what was found is written."""
        before = before or Remembered(salt=secrets.token_hex(16))
        try:
            with self._child:
                job = self._job(watched, endpoint.monitor or Monitor(), digest, before)
                answer = self._child.run(COMPUTE, job, Answer)
        except (ArgosyError, OSError) as error:
            answer = Answer()
            LOG.warning("the rows of '%s' were not compared as a whole: %s", endpoint.name, error)
            self._file(endpoint.name, fresh=True).unlink(missing_ok=True)
        verdicts, state = look(answer.measured, before.state, run_length("rows", self._every))
        found = [_finding(watched, answer, one) for one in verdicts]
        return found, msgspec.structs.replace(before, state=state)

    def _job(self, watched: Watched, monitor: Monitor, digest: str, before: Remembered) -> Job:
        with storage(self._folder):
            self._folder.mkdir(exist_ok=True, mode=0o700)
        package = self._package(digest)
        return Job(
            payloads=str(self._home.payloads),
            endpoint=watched.endpoint,
            version=watched.version,
            package=str(package.folder),
            log=watched.log,
            since=watched.start,
            until=watched.end,
            salt=before.salt,
            kept=str(self._file(watched.endpoint)),
            fresh=str(self._file(watched.endpoint, fresh=True)),
            absorb=not before.state.drifted,
            reference=_labelled(self._home, monitor, package, digest, watched.log),
            season=monitor.season == "week",
        )

    def settle(self, endpoint: str) -> None:
        """From now on compare with what the last look has drawn, too."""
        fresh = self._file(endpoint, fresh=True)
        if fresh.exists():
            fresh.replace(self._file(endpoint))

    def forget(self, endpoint: str) -> None:
        """Remove what is kept of an endpoint's rows."""
        for fresh in (True, False):
            self._file(endpoint, fresh=fresh).unlink(missing_ok=True)

    def end(self) -> None:
        """End a comparison that runs, for good."""
        self._child.cancel()

    def _file(self, endpoint: str, *, fresh: bool = False) -> Path:
        return self._folder / f"{endpoint}.rows{'.fresh' if fresh else ''}"


def wrong(watched: Watched, findings: Sequence[Finding]) -> tuple[incident.Finding, ...]:
    """What is to be reported."""
    return tuple(raised(watched, one) for one in findings if one.verdict == "drift")


def _labelled(home: Home, monitor: Monitor, package: Package, digest: str, log: PayloadLog) -> str:
    """The labelled reference as the log would hold it, if there is one that can be had."""
    if not monitor.reference:
        return ""
    try:
        return str(reference.scored(home, monitor, package, digest, log))
    except ArgosyError as error:
        LOG.warning("whole rows are compared without the labelled reference: %s", error.message)
        return ""


def _finding(watched: Watched, answer: Answer, one: ComparisonEvidence) -> Finding:
    found = one.measured
    causes = [{"name": subject(cause.name), "weight": cause.weight} for cause in found.causes]
    detail: dict[str, Any] = {"margin": found.margin, "text": _text(found.text, causes), "causes": causes}
    detail |= {"p": found.p, "before": answer.before, "zero": found.zero}
    return Finding(
        endpoint=watched.endpoint,
        version=watched.version,
        kind="multivariate",
        subject=subject(found.subject),
        at=watched.end,
        window_start=watched.start,
        window_end=watched.end,
        rows=answer.rows,
        effect=found.effect,
        low=found.low,
        high=found.high,
        log_e=one.log_e if math.isfinite(one.log_e) else None,
        verdict="drift" if one.drifted else "no drift",
        detail=detail,
    )


def _text(text: str, causes: Sequence[dict[str, Any]]) -> str:
    some = ", ".join(f"'{cause['name']}'" for cause in causes[:NAMED])
    return f"{text}; most by {some}" if some else text
