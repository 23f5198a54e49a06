"""Looks now and then for drift in what was recorded, remembers the evidence, and writes findings and alerts."""

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from argosy.control.state import Declared, State
from argosy.monitoring.drift import memory
from argosy.monitoring.drift.detector import Finding as Column
from argosy.monitoring.drift.detector import Look, look, start
from argosy.monitoring.drift.reference import Baseline, baseline, fitting
from argosy.packaging.package import open_package
from argosy.profiles import shelf
from argosy.profiles.layout import Floats
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound
from argosy.store import alerts, findings
from argosy.store.alerts import Alert
from argosy.store.findings import Finding
from argosy.store.store import Store
from argosy.targets.base import Revision

LOG = logging.getLogger(__name__)
LATE = 120
"""Seconds after the end of a window until its last minute is certainly on disk."""
QUARTER = 90 * 86400
"""Seconds between false alarms of one model, at least, on average."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of an endpoint between looks: of which version and reference, until when it was looked at
    (seconds since 1970), the detector's state, and the alerts that fire, by column."""

    version: str
    layout: str
    until: float
    state: bytes
    firing: dict[str, Alert] = {}


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written after a look."""

    findings: tuple[Finding, ...]
    alerts: tuple[Alert, ...]
    kept: Kept


def judge(
    endpoint: str, version: str, base: Baseline, kept: Kept | None, counts: Floats, end: float, every: int
) -> Judged:
    """One window (D, C) that ended at `end`, of looks `every` so many seconds. Another version or reference begins
    anew, and its alerts are over."""
    over: tuple[Alert, ...] = ()
    if kept is not None and (kept.version, kept.layout) != (version, base.layout.digest):
        over, kept = resolved(kept.firing, end), None
    before = memory.load(base.where, base.counts, kept.state) if kept else start(base.where, base.counts)
    begin = kept.until if kept else end - every
    found, state = look(base.where, before, counts, base.counts, run_length=QUARTER / every)
    firing = dict(kept.firing) if kept else {}
    changed = [*over]
    for one in found.findings:
        if one.alarm:
            firing[one.column] = _alert(endpoint, version, one, end)
            changed.append(firing[one.column])
        elif not one.drifted and one.column in firing:
            changed += resolved({one.column: firing.pop(one.column)}, end)
    return Judged(
        findings=_findings(endpoint, version, found, (begin, end)),
        alerts=tuple(changed),
        kept=Kept(version=version, layout=base.layout.digest, until=end, state=memory.dump(state), firing=firing),
    )


def resolved(firing: Mapping[str, Alert], at: float) -> tuple[Alert, ...]:
    """These alerts, over."""
    return tuple(msgspec.structs.replace(each, state="resolved", until=at) for each in firing.values())


def _findings(endpoint: str, version: str, found: Look, span: tuple[float, float]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            endpoint=endpoint,
            version=version,
            kind="drift",
            subject=one.column,
            at=span[1],
            window_start=span[0],
            window_end=span[1],
            rows=one.rows,
            effect=float(one.effects[0].value),
            low=float(one.effects[0].low),
            high=float(one.effects[0].high),
            log_e=math.log(one.run_length) if one.run_length > 0 else None,
            verdict="drift" if one.drifted else "no drift",
            detail={"margin": one.effects[0].margin, "text": _text(one)},
        )
        for one in found.findings
        if one.effects
    )


def _text(one: Column) -> str:
    effect = one.effects[0]
    return f"{effect.name} {effect.value:.3f} ({effect.low:.3f} to {effect.high:.3f}) over {one.rows:,} rows"


def _alert(endpoint: str, version: str, one: Column, at: float) -> Alert:
    column = hashlib.sha256(one.column.encode()).hexdigest()[:12]
    return Alert(
        id=f"{endpoint}/drift/{column}@{at:.0f}",
        endpoint=endpoint,
        kind="drift",
        subject=one.column,
        severity="ticket",
        state="firing",
        since=at,
        text=f"'{one.column}' of version {version} has drifted: {_text(one)}",
    )


class Looks:
    """The task of a platform. It looks `every` so many seconds, in a thread, never in the loop; `clock` gives seconds
    since 1970."""

    def __init__(self, store: Store, state: State, every: int, clock: Callable[[], float] = time.time) -> None:
        self._store, self._state, self._every, self._clock = store, state, every, clock
        self._folder = store.home.root / "drift"

    async def run(self) -> None:
        """After the end of every window, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.look)
            except Exception:
                LOG.exception("this look for drift is made up for by the next")
            await asyncio.sleep(self._every - (self._clock() - LATE) % self._every + 0.05)

    def look(self) -> None:
        """Look at every endpoint with profiles, once for each window. Raises Unavailable, StorageFull."""
        end = float((self._clock() - LATE) // self._every * self._every)
        declared = {each.endpoint.name: each for each in self._state.endpoints()}
        revisions = self._state.revisions()
        for name in shelf.endpoints(self._store.home.profiles):
            if name in declared:
                try:
                    self._one(name, _serving(declared[name], revisions), end)
                except (ArgosyError, OSError) as error:
                    LOG.warning("no look for drift of '%s': %s", name, error)
        for path in self._folder.glob("*.look"):
            if path.stem not in declared and (kept := _read(path)):
                self._end(path, kept, end)
        findings.forget(self._store.database, end)

    def _end(self, path: Path, kept: Kept, at: float) -> None:
        alerts.write(self._store.database, resolved(kept.firing, at))
        path.unlink(missing_ok=True)

    def _one(self, name: str, revision: Revision | None, end: float) -> None:
        """Findings and alerts are written before the state: a look that is cut short is done again, to the same end."""
        path = self._folder / f"{name}.look"
        kept = _read(path)
        if revision is None or (kept is not None and kept.until >= end):
            return
        try:
            base = baseline(open_package(self._store.unpacked(revision.digest)))
        except NotFound:
            return
        since = kept.until if kept is not None and kept.version == revision.version else end - self._every
        moments = (datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(end, UTC))
        came = fitting(base, shelf.read(self._store.home.profiles, name, revision.version, *moments))
        if came is None:
            if kept is not None and kept.version != revision.version:
                self._end(path, kept, end)
            return
        try:
            judged = judge(name, revision.version, base, kept, base.came(came), end, self._every)
        except InvalidArgument as error:
            LOG.warning("the evidence of drift of '%s' begins anew: %s", name, error.message)
            judged = judge(name, revision.version, base, None, base.came(came), end, self._every)
        findings.write(self._store.database, judged.findings)
        alerts.write(self._store.database, judged.alerts)
        self._folder.mkdir(exist_ok=True, mode=0o700)
        fresh = path.with_suffix(".fresh")
        fresh.write_bytes(msgspec.msgpack.encode(judged.kept))
        fresh.replace(path)


def _serving(declared: Declared, revisions: Mapping[str, Revision]) -> Revision | None:
    return revisions.get(declared.serving.active or declared.revision)


def _read(path: Path) -> Kept | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):
        return None
