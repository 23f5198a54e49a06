"""A platform as the console sees it, with 50 endpoints and seven days of everything, without one that runs."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from argosy.control.rollout.evidence import Evidence
from argosy.control.rollout.table import RolloutRow
from argosy.control.state import State
from argosy.jobs.folder import Folder, RunRequest
from argosy.jobs.folder import Progress as Far
from argosy.monitoring.analysis import guard
from argosy.monitoring.analysis.evidence import GuardObservation, start
from argosy.protocol import tensorfile
from argosy.serving.counts import Counts, bucket
from argosy.spec.address import Address
from argosy.spec.batch import BatchJob, Submission
from argosy.spec.endpoint import Endpoint
from argosy.spec.guard import Guard
from argosy.spec.package import ModelManifest
from argosy.spec.revision import Revision
from argosy.spec.rollout import Rollout
from argosy.spec.settings import Home, Settings
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.status import EndpointStatus, ReplicaStatus, SloStatus, View
from argosy.spec.tensor import Tensor
from argosy.store import findings, jobs, open_store, traffic
from argosy.store.alerts import Alert
from argosy.store.database import Database
from argosy.store.endpoints import Progress, Serving
from argosy.store.findings import Finding
from argosy.store.jobs import Job
from argosy.store.ledger import Cause
from argosy.store.store import Store
from argosy.telemetry.rates import Rates, Usage
from argosy.trust.bundle import BUNDLE
from tests.console.devices import fleets
from tests.console.places import holder
from tests.console.planned import planned
from tests.console.spent import spent
from tests.console.used import tokens
from tests.control.served import serve
from tests.store.samples import FILES, model_lineage, model_manifest, put_alerts, write_folder

HOUR = 3600.0
HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>'
COLUMNS = ["age", "amount", "balance", "country", "device", "hour", "income", "merchant", "distance", "tenure", HOSTILE]
GOLDEN = {
    "golden/inputs.oip": tensorfile.dump(
        [
            Tensor("x", "FP32", np.arange(8, dtype="<f4").reshape(2, 4) / 3),
            Tensor("country", "BYTES", np.array([b"NO", HOSTILE.encode()], dtype=object)),
        ]
    ),
    "golden/outputs.oip": tensorfile.dump([Tensor("label", "INT64", np.array([0, 1]))]),
}
OBJECTIVES = tuple(
    SloStatus(
        name=name, objective=0.999, latency=latency, days=30.0, budget=budget, severity=severity, reason="within or not"
    )
    for name, latency, budget, severity in (("availability", 0.0, 0.62, ""), ("<script>fast", 0.2, -1.5, "page"))
)
NAMES = ["fraud", "digits", "churn", "ranking", "pricing", "search", "spam", "demand", "risk", "support"]


def names(count: int) -> list[str]:
    """Endpoint names."""
    return [f"{NAMES[at % len(NAMES)]}{f'-{at // len(NAMES)}' if at >= len(NAMES) else ''}" for at in range(count)]


class Samples:
    """What monitoring would have found of some endpoints, up to `now`."""

    def __init__(self, now: float) -> None:
        self.now = now

    def write(self, database: Database, names: Sequence[str]) -> None:
        """Write seven days of it for these endpoints, and the alerts."""
        for name in names:
            findings.write(database, self.findings(name, self.now - 7 * 24 * HOUR))
        put_alerts(database, self.alerts())

    def findings(self, endpoint: str, since: float) -> list[Finding]:
        return [*self._drift(endpoint, since), *self._quality(endpoint, since)]

    def _hours(self, since: float) -> list[float]:
        last = self.now // HOUR * HOUR
        return [last - HOUR * back for back in range(int((self.now - since) / HOUR) - 1, -1, -1)]

    def _drift(self, endpoint: str, since: float) -> list[Finding]:
        found: list[Finding] = []
        ends = self._hours(since)
        for at, column in enumerate(["label", *COLUMNS]):
            chance = random.Random(f"{endpoint}{column}")
            grows = column in ("amount", "label")
            for place, end in enumerate(ends):
                late = max(0.0, place / len(ends) - 0.6) if grows else 0.0
                effect = abs(chance.gauss(0.02, 0.015)) + late * (0.9 if column == "amount" else 0.4)
                reference = [math.exp(-((x - 6) ** 2) / 10) for x in range(14)]
                current = [math.exp(-((x - 6 - 12 * late) ** 2) / 10) for x in range(14)]
                found.append(
                    Finding(
                        endpoint=endpoint,
                        version=f"{endpoint}:2",
                        kind="prediction" if at == 0 else "drift",
                        subject=column,
                        at=end,
                        window_start=end - HOUR,
                        window_end=end,
                        rows=4200,
                        effect=effect,
                        low=effect * 0.7,
                        high=effect * 1.3,
                        log_e=effect * 60,
                        verdict="drift" if effect > 0.18 else "no drift",
                        detail={
                            "margin": 0.1,
                            "labels": [f"{10 * x}" for x in range(14)],
                            "reference": reference,
                            "current": current,
                        },
                    )
                )
        return found

    def _quality(self, endpoint: str, since: float) -> list[Finding]:
        chance, ends = random.Random(endpoint), self._hours(since)[::4]
        found: list[Finding] = []
        for place, end in enumerate(ends):
            fall = max(0.0, place / len(ends) - 0.65) * 0.3
            for kind, wide in (("estimate", 0.012), ("realised", 0.008)):
                if kind == "realised" and place > len(ends) * 0.85:
                    continue
                value = 0.93 - fall + chance.gauss(0, 0.004)
                found.append(
                    Finding(
                        endpoint=endpoint,
                        version=f"{endpoint}:2",
                        kind=kind,
                        subject="accuracy",
                        at=end,
                        window_start=end - 4 * HOUR,
                        window_end=end,
                        rows=16800,
                        effect=value,
                        low=value - wide,
                        high=value + wide,
                        verdict="not estimable: 3 rows are too few" if place == 5 else _verdict(fall),
                        detail={"maturity": min(1.0, (len(ends) - place) / 8)},
                    )
                )
            found.append(
                Finding(
                    endpoint=endpoint,
                    version=f"{endpoint}:2",
                    kind="reconcile",
                    subject="accuracy",
                    at=end,
                    window_start=end - 4 * HOUR,
                    window_end=end,
                    rows=16800,
                    verdict="the estimate was too good" if place == len(ends) - 1 else "agrees",
                    detail={"text": "accuracy was 0.881 where 0.912 was estimated"},
                )
            )
        return found

    def alerts(self) -> list[Alert]:
        return [
            Alert(
                id="fraud/drift/amount@1",
                endpoint="fraud",
                kind="drift",
                subject="amount",
                severity="ticket",
                state="firing",
                since=self.now - 5 * HOUR,
                text="amount has moved by 0.31 standard deviations (0.27 to 0.35); 4,200 rows",
            ),
            Alert(
                id=f"digits/slo/{HOSTILE}@2",
                endpoint="digits",
                kind="slo",
                subject=HOSTILE,
                severity="page",
                state="resolved",
                since=self.now - 30 * HOUR,
                until=self.now - 29 * HOUR,
                text="2.10% of requests were bad in the last 5 minutes",
            ),
        ]


class Meter:
    """A quarter of an hour of looks."""

    def __init__(self, now: float, replicas: Sequence[ReplicaStatus]) -> None:
        self.usage = {
            each.id: Usage(cpu=0.02 * (pid % 40), memory=(80 + pid % 300) << 20, pid=pid)
            for pid, each in enumerate(replicas, start=1000)
        }
        self._now = now
        self._kept: dict[tuple[str, str], tuple[Rates, ...]] = {}

    def recent(self, endpoint: str, revision: str = "") -> tuple[Rates, ...]:
        key = (endpoint, revision)
        if key not in self._kept:
            chance = random.Random(endpoint + revision)
            level, p50 = chance.uniform(2, 120), chance.uniform(2, 30)
            self._kept[key] = tuple(
                Rates(
                    at=self._now - 5 * (179 - at),
                    requests=level * (1 + 0.15 * math.sin(at / 20)) * chance.uniform(0.93, 1.07),
                    errors=level * 0.02 if endpoint == "risk" and at > 150 else 0.0,
                    p50=p50 * chance.uniform(0.95, 1.05),
                    p95=p50 * chance.uniform(1.9, 2.3),
                    p99=p50 * chance.uniform(3, 4.5),
                )
                for at in range(180)
            )
        return self._kept[key]

    def now(self, endpoint: str, revision: str = "") -> Rates:
        return self.recent(endpoint, revision)[-1]


def fill(database: Database, now: float, count: int) -> None:
    """Seven days of hours and a day of minutes, for every endpoint."""
    for width, span in ((traffic.HOUR, 7 * 24), (traffic.MINUTE, 25 * 60)):
        end = int(now // width) * width
        for name in names(count):
            times = range(end - span * width, end, width)
            traffic.write(database, [_came(name, at, width, random.Random(f"{name}{at}")) for at in times], width)


def _came(name: str, at: int, width: int, chance: random.Random) -> traffic.Traffic:
    day = 1 + 0.6 * math.sin(2 * math.pi * (at % 86400) / 86400 - 2)
    requests = int(width * (5 + 11 * (len(name) % 7)) * day * chance.uniform(0.9, 1.1))
    middle = bucket(0.004 + 0.002 * day)
    latency = {middle + away: max(1, int(requests * math.exp(-away * away / 90) / 12)) for away in range(-12, 40, 3)}
    errors = int(requests * max(0.0, chance.gauss(0.001, 0.002)))
    return traffic.Traffic(
        endpoint=name,
        revision=_ids(name)[1],
        version=f"{name}:2",
        at=at,
        requests=requests,
        errors=errors,
        latency=latency,
        replicas=2,
    )


def services(home: Home, now: float, count: int = 50) -> Any:
    """What the pages read. The first endpoint is in the middle of a rollout."""
    store = open_store(home, Settings())
    for version in (b"1", b"2"):
        folder = write_folder(home.root / f"p{version.decode()}", FILES | GOLDEN | {"v": version})
        for name in names(min(count, len(NAMES))):
            store.add(folder, name=name, manifest=_manifest(name), lineage=model_lineage(HOSTILE))
    fraud = store.registry.resolve("fraud:2").digest
    store.layout.attach(fraud, BUNDLE, b'{"mediaType": "<script>"}', BUNDLE)
    state = State(store.database)
    fill(store.database, now, count)
    _jobs(home, store, now)
    fleets(store, now, HOSTILE)
    tokens(store, now, HOSTILE)
    spent(store.database, now, HOSTILE)
    wanted = names(count)
    statuses = {name: _declare(state, name, at) for at, name in enumerate(wanted)}
    replicas = tuple(_replica(name, at, number, now) for at, name in enumerate(wanted) for number in range(2))
    first = wanted[0]
    kept = {first: _rollout(first)}
    rollouts = SimpleNamespace(last=lambda: kept)
    controller = SimpleNamespace(
        gateway_url="http://127.0.0.1:8080",
        view=View(number=1, endpoints=statuses, replicas=replicas),
        analysis=SimpleNamespace(rows=kept, rollouts=rollouts),
    )
    return SimpleNamespace(
        home=home,
        settings=Settings(),
        store=store,
        state=state,
        controller=controller,
        meter=Meter(now, replicas),
        jobs=SimpleNamespace(wake=lambda: None, slots=None, deadlines=SimpleNamespace(reason=lambda run: "")),
        costs=SimpleNamespace(unpriced=("spam",), hourly={"fraud": 4.0}),
        regions=holder(store.database, now, HOSTILE),
        plans=SimpleNamespace(store=planned(store.database, now, HOSTILE), problem=f"{HOSTILE} failed"),
        member=SimpleNamespace(order=SimpleNamespace(holder="")),
        intake=SimpleNamespace(dropped=Counter({"factory": 7})),
    )


def _jobs(home: Home, store: Store, now: float) -> None:
    """One that runs, one that has failed, one that waits for its night."""
    for name, state, schedule in (
        ("fraud-1f2e3d", "running", ""),
        ("spam-0a1b2c", "failed", ""),
        ("nightly", "", "30 2 * * *"),
    ):
        batch = BatchJob(model=f"{HOSTILE}:2", inputs=(f"/in/{HOSTILE}/",), output="/out/{date}", price=1.5)
        spec = msgspec.json.encode(Submission(name=name, batch=batch, schedule=schedule)).decode()
        next = now + 3600 if schedule else None
        jobs.add(
            store.database, Job(name=name, spec=spec, created=now - 600, actor="ann", next=next), Cause(actor="ann")
        )
        if state:
            run = msgspec.structs.replace(jobs.runs(store.database, name)[0], started=now - 300, attempts=2)
            error = HOSTILE if state == "failed" else ""
            jobs.note(store.database, msgspec.structs.replace(run, state=state, error=error))
            folder = Folder.of(home, run.id)
            folder.begin(RunRequest(batch=batch))
            folder.report(Far(rows=1_234_567, total=4_000_000, rate=98_765.4, left=28.0, cost=0.0123))


def _manifest(name: str) -> ModelManifest:
    """One whose columns are hostile, too."""
    inputs = (
        TensorSpec(name="x", datatype="FP32", shape=(-1, 4), columns=(HOSTILE, "age", "amount", "income")),
        TensorSpec(name="country", datatype="BYTES", shape=(-1,), semantic="categorical"),
    )
    outputs = (TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label"),)
    fields: dict[str, Any] = {"signature": Signature(inputs=inputs, outputs=outputs), "golden_rows": 2}
    return msgspec.structs.replace(model_manifest(name), description=f"tells fraud {HOSTILE}", **fields)


def _ids(name: str) -> tuple[str, str]:
    return f"{name[:10]}01", f"{name[:10]}02"


def _declare(state: State, name: str, at: int) -> EndpointStatus:
    old, new = _ids(name)
    endpoint = Endpoint(name=name, model=f"{name}:1", replicas=2, rollout=Rollout(strategy="canary"), guard=Guard())
    for key, version in ((old, "1"), (new, "2")):
        revision = Revision(id=key, endpoint=name, model=name, version=version, digest="sha256:" + "0" * 64)
        state.declare(endpoint, revision)
        serve(state, name, Serving(active=key, held=2))
    phase = {0: "updating", 7: "starting", 8: "failed"}.get(at, "ready")
    return EndpointStatus(
        name=name,
        state=phase,  # pyright: ignore[reportArgumentType]
        reason=HOSTILE if phase == "failed" else "",
        model=f"{name}:2",
        version=f"{name}:2",
        digest="sha256:" + "0" * 64,
        revision=new,
        serving=f"{name}:1" if at == 0 else f"{name}:2",
        serving_revision=old if at == 0 else new,
        replicas=2,
        ready=2 if phase in ("ready", "updating") else 1,
        slos=OBJECTIVES if at == 0 else (),
        url=f"http://127.0.0.1:8080/v2/models/{name}/infer",
        endpoint=endpoint,
        generation=2,
        created="2026-01-01T00:00:00Z",
        updated="2026-01-02T00:00:00Z",
    )


def _replica(name: str, at: int, number: int, now: float) -> ReplicaStatus:
    revision = _ids(name)[number if at == 0 else 1]
    return ReplicaStatus(
        id=f"{name}-{number}",
        endpoint=name,
        revision=revision,
        phase="ready",
        http=Address(),
        started=now - 7 * 86400,
        version=f"{name}:2",
    )


def _rollout(name: str) -> RolloutRow:
    seen = GuardObservation(
        seconds=1.0,
        candidate=Counts(requests=900, errors=4, latency={60: 850, 75: 40}),
        stable=Counts(requests=9000, errors=21, latency={59: 8700, 74: 300}),
    )
    decision, state = guard.decide(Guard(), seen, start(history=Counts(requests=1000)))
    evidence = Evidence(
        state=state, verdict=decision.verdict, reason=decision.reason, limit=decision.limit, log_e=decision.log_e
    )
    old, new = _ids(name)
    progress = Progress(number=3, candidate=new, stable=old, held=2, phase="shifting", step=1, weight=25, spent=84.0)
    return RolloutRow(endpoint=name, progress=progress, evidence=evidence, changes=4, began="2026-01-02T00:00:00Z")


def _verdict(fall: float) -> str:
    return "fell" if fall > 0.08 else "below" if fall > 0.05 else "as expected"
