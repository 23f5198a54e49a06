"""Labels to predictions by request id, a step at a time: only days that got labels are counted again.

A step matches new labels with all predictions and waiting labels with new ones. A hit goes to the day of its
prediction; the counts of that day lose what they had for the same rows and gain what is true now. All sums are of
integers or decimals, so that counting a day again from all its files gives the same numbers, to the last digit.
"""

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from argosy.monitoring.feedback import intake, sql
from argosy.monitoring.feedback.folder import LabelFolder, Manifest
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import FeedbackSettings
from argosy.store import duck
from argosy.store.durable import sync_file
from argosy.store.payloads import layout, segment
from argosy.store.payloads.query import source
from argosy.store.payloads.segment import Broken

NEAR = timedelta(days=2)
"""Labels that are joined again are searched among the days around a segment's."""


def limits(now: datetime, keep_days: float, segments: Iterable[str]) -> tuple[datetime, datetime]:
    """Labels that came before the first moment wait no more. Files of labels from before the second, and rows of days
    before it, are of no payload that is left: what the log of these segments still has is needed, however old."""
    waiting = now - timedelta(days=keep_days)
    hours = [found.hour - NEAR for key in segments if (found := layout.parse(key))]
    return waiting, min([waiting, *hours])


def expired(names: Sequence[str], needed: datetime) -> set[str]:
    """The files of labels that go, by the time in their names."""
    first = int(needed.timestamp() * 1e9)
    return {name for name in names if int(name.rpartition("/")[2].partition("-")[0]) < first}


def beyond(sizes: Mapping[str, int], most: int) -> set[str]:
    """The files of labels that make all of them more than so many bytes: always the oldest of the sender who has the
    most."""
    files: dict[str, list[str]] = {}
    for name in sorted(sizes, reverse=True):
        files.setdefault(sender(name), []).append(name)
    totals = {key: sum(sizes[name] for name in names) for key, names in files.items()}
    gone = set[str]()
    while sum(totals.values()) > most:
        largest = max(totals, key=lambda key: (totals[key], key))
        name = files[largest].pop()
        gone.add(name)
        totals[largest] -= sizes[name]
    return gone


def sender(name: str) -> str:
    """The id of the key that a file of labels is from; empty for the owner, and in names of earlier versions."""
    return "-".join(name.rpartition("/")[2].removesuffix(".parquet").split("-")[2:])


def retained(manifest: Manifest, needed: datetime, over: Collection[str] = ()) -> Manifest:
    """What stays of a manifest; `over`: files of labels that are too many."""
    gone, day = expired(manifest.labels, needed).union(over), needed.strftime("%Y-%m-%d")
    return msgspec.structs.replace(
        manifest,
        labels=tuple(name for name in manifest.labels if name not in gone),
        joined={each: names for each, names in manifest.joined.items() if each >= day},
    )


BUCKET_ROWS = 2_500_000
MERGE_FILES = 16
MOST_WAITING = 1_000_000
"""Labels of an endpoint that wait for a prediction: of more, the oldest of those who sent the most are let go."""
MOST_LABELS = 1024 * 1024 * 1024
"""Bytes of labels as they came that are stored of an endpoint."""

Kind = Literal["classification", "regression"]


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """Which columns of the payload log are the prediction: `decision` is compared with the label, `score` ranks.

    A score that is a list (probabilities by class) counts with its last element, or that of `positive`. Without a
    decision it is what the score says: `positive` from `threshold` on, or the one of `classes` that scores highest.
    `alias` is a column with another id that labels may name: that of an answer.
    """

    decision: str = ""
    score: str = ""
    kind: Kind = "classification"
    threshold: float = 0.5
    classes: tuple[str, ...] = ()
    positive: str = ""
    alias: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a step did: labels that were new, predictions that were new, labels joined, labels that wait, labels that
    waited too long, days counted again, and files of the log that were broken."""

    labels: int
    predictions: int
    joined: int
    waiting: int
    expired: int = 0
    days: tuple[str, ...]
    broken: tuple[Broken, ...] = ()


def step(
    folder: LabelFolder,
    payloads: Path,
    prediction: Prediction,
    *,
    memory: str = "1GB",
    threads: int = 0,
    keep_days: float = FeedbackSettings().keep_days,
    now: datetime | None = None,
) -> Step:
    """Join what has come since the last step. Safe to repeat and to kill at any moment. A label whose prediction is not
    known after `keep_days` waits no more; what belongs to payloads that are gone for as long goes as well.

    Raises InvalidArgument if the log has no such column, StorageFull.
    """
    with folder.locked(), layout.shared(payloads):
        intake.seal(folder)
        spill = folder.temporary / "spill"
        shutil.rmtree(spill, ignore_errors=True)
        with duck.opened(memory=memory, threads=threads, temporary=spill) as connection:
            connection.execute(intake.PLAIN)
            return _Joiner(connection, folder, payloads, prediction).run(now or datetime.now(UTC), keep_days)


class _Joiner:
    """One step on its way. `manifest` is what will be valid when it is done."""

    def __init__(self, connection: Any, folder: LabelFolder, payloads: Path, prediction: Prediction) -> None:
        self.db, self.folder, self.payloads, self.prediction = connection, folder, payloads, prediction
        self.manifest = folder.manifest()
        self.scratch = folder.temporary / "hits"
        self._kinds: dict[str, str] = {}
        self._patience = datetime.min.replace(tzinfo=UTC)
        self._expired = 0

    def run(self, now: datetime, keep_days: float) -> Step:
        shutil.rmtree(self.scratch, ignore_errors=True)
        found = [each.key for each in layout.segments(self.payloads, self.folder.endpoint)]
        known = set(self.manifest.segments)
        fresh = [key for key in found if key not in known]
        broken = segment.quarantine(self.payloads, fresh)
        bad = {each.key for each in broken}
        found, fresh = [k for k in found if k not in bad], [k for k in fresh if k not in bad]
        self._patience, needed = limits(now, keep_days, found)
        labels = [name for name in self.folder.label_files() if name not in set(self.manifest.labels)]
        served = self._served(fresh)
        waiting = self._match([self.folder.path(name) for name in labels], found, "new")
        waiting += self._match([self.folder.path(name) for name in self.manifest.pending], fresh, "old")
        waiting = self._newest(waiting)
        self._again(fresh)
        days, joined = self._fold()
        self._set(
            generation=self.manifest.generation + 1,
            labels=self.manifest.labels + tuple(labels),
            segments=tuple(found),
            pending=tuple(waiting),
            expired=self.manifest.expired + self._expired,
        )
        sizes = {name: self.folder.size(name) for name in self.manifest.labels}
        over = beyond(sizes, MOST_LABELS)
        # Labels first: a file that is gone and still named does no harm.
        for name in expired(self.manifest.labels, needed) | over:
            self.folder.path(name).unlink(missing_ok=True)
        self.manifest = retained(self.manifest, needed, over)
        self.folder.commit(self.manifest)
        counts = [self._rows([self.folder.path(name) for name in names]) for names in (labels, waiting)]
        return Step(
            labels=counts[0],
            predictions=served,
            joined=joined,
            waiting=counts[1],
            expired=self._expired,
            days=days,
            broken=tuple(broken),
        )

    def _set(self, **changes: Any) -> None:
        self.manifest = msgspec.structs.replace(self.manifest, **changes)

    def _rows(self, paths: Sequence[Path]) -> int:
        return self._one(f"SELECT count(*) FROM {sql.parquet(paths)}") if paths else 0

    def _one(self, query: str) -> int:
        return int(self.db.execute(query).fetchone()[0])

    def _served(self, fresh: Sequence[str]) -> int:
        """Count the predictions of new segments by version and hour."""
        if not fresh:
            return 0
        name = self.folder.new("served")
        self._copy(sql.SERVED.format(predictions=self._predictions(fresh)), self.folder.path(name))
        self._set(served=(*self.manifest.served, name))
        if len(self.manifest.served) > MERGE_FILES:
            merged = self.folder.new("served")
            paths = [self.folder.path(each) for each in self.manifest.served]
            self._copy(sql.MERGE_SERVED.format(served=sql.parquet(paths)), self.folder.path(merged))
            self._set(served=(merged,))
        return self._one(f"SELECT COALESCE(sum(n), 0) FROM {sql.parquet([self.folder.path(name)])}")

    def _predictions(self, keys: Sequence[str], id: str = "request_id") -> str:
        """A subquery: the rows of these segments that are predictions."""
        paths = [self.payloads / key for key in keys]
        self.db.execute(f"SELECT * FROM {source(paths)} LIMIT 0")
        kinds = {column[0]: str(column[1]).upper() for column in self.db.description}
        for name in filter(None, (self.prediction.decision, self.prediction.score)):
            if name not in kinds:
                known = ", ".join(column for column in kinds if column.startswith("output."))
                raise InvalidArgument(f"the log of '{self.folder.endpoint}' has no column '{name}'; it has {known}")
        self._kinds = kinds
        return sql.PREDICTIONS.format(
            id=id,
            decision=self._decision(),
            score=duck.identifier(self.prediction.score) if self.prediction.score else "NULL",
            source=source(paths),
        )

    def _decision(self) -> str:
        """The decision as an expression over the log."""
        what = self.prediction
        if what.decision:
            return duck.identifier(what.decision) + ("[1]" if self._kinds[what.decision].endswith("]") else "")
        score = duck.identifier(what.score)
        if self._kinds[what.score].endswith("]"):
            return sql.highest(score, what.classes)
        other = next((each for each in what.classes if each != what.positive), "")
        return sql.beyond(score, what.threshold, what.positive, other)

    def _converted(self) -> dict[str, str]:
        """Decision and score as they are stored. Done after the join: most predictions are in no hit of a step."""
        what, kind = self.prediction, self._kinds.get(self.prediction.score, "")
        place = what.classes.index(what.positive) + 1 if what.positive in what.classes else -1
        score = f"TRY_CAST(p.score[{place}] AS DOUBLE)" if kind.endswith("]") else "TRY_CAST(p.score AS DOUBLE)"
        return {"decision": sql.plain("p.decision", self._kinds.get(what.decision, "VARCHAR")), "score": score}

    def _match(self, labels: Sequence[Path], keys: Sequence[str], what: str) -> list[str]:
        """Join label files with segments into the scratch folder, by day; the names of those that found nothing."""
        if not labels or not keys:
            return self._wait(sql.SENT.format(files=sql.parquet(labels))) if labels else []
        self._hits(sql.SENT.format(files=sql.parquet(labels)), self._rows(labels), keys, what, "LEFT")
        lost = list(self.scratch.glob(f"{what}-*/day=none/*.parquet"))
        return self._wait(sql.parquet(lost)) if lost else []

    def _again(self, keys: Sequence[str]) -> None:
        """Join new segments with the labels that met predictions of the same time already."""
        segments = [found for key in keys if (found := layout.parse(key))]
        near = {(s.hour + timedelta(days=d)).strftime("%Y-%m-%d") for s in segments for d in (-1, 0, 1)}
        used = [self.folder.path(name) for day in sorted(near) for name in self.manifest.joined.get(day, ())]
        if used:
            self._hits(sql.USED.format(files=sql.parquet(used)), self._rows(used), keys, "again", "INNER")

    def _hits(self, labels: str, count: int, keys: Sequence[str], what: str, side: str) -> None:
        buckets = -(-min(count, self._rows([self.payloads / key for key in keys])) // BUCKET_ROWS) or 1
        predictions = self._predictions(keys)
        if self.prediction.alias in self._kinds:
            more = self._predictions(keys, duck.identifier(self.prediction.alias))
            predictions = f"(FROM {predictions} UNION ALL FROM {more})"
        for bucket in range(buckets):
            share = f"WHERE hash(request_id) % {buckets} = {bucket}" if buckets > 1 else ""
            query = sql.MATCH.format(
                labels=labels, predictions=predictions, share=share, side=side, **self._converted()
            )
            folder = self.scratch / f"{what}-{bucket}"
            folder.mkdir(parents=True)
            options = "FORMAT parquet, COMPRESSION snappy, PARTITION_BY (day), WRITE_PARTITION_COLUMNS false"
            self.db.execute(f"COPY ({query}) TO {duck.literal(str(folder))} ({options})")

    def _wait(self, labels: str) -> list[str]:
        name = self.folder.new("waiting")
        columns = "request_id, row, label, label_version AS version, known AS time, received, source, key"
        late = f"received < TIMESTAMPTZ {duck.literal(self._patience.isoformat())}"
        self._expired += self._one(f"SELECT count(*) FROM {labels} WHERE {late}")
        self._copy(f"SELECT {columns} FROM {labels} WHERE NOT {late}", self.folder.path(name))
        return [name]

    def _newest(self, names: list[str]) -> list[str]:
        """As many of those that wait as may."""
        paths = [self.folder.path(name) for name in names]
        if (over := self._rows(paths) - MOST_WAITING) <= 0:
            return names
        name = self.folder.new("waiting")
        self._copy(sql.NEWEST.format(waiting=sql.parquet(paths), most=MOST_WAITING), self.folder.path(name))
        self._expired += over
        return [name]

    def _copy(self, query: str, path: Path) -> None:
        self.db.execute(f"COPY ({query}) TO {duck.literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
        sync_file(path)

    def _fold(self) -> tuple[tuple[str, ...], int]:
        """The hits in the scratch folder into the days they belong to: which days, how many hits."""
        hits: dict[str, list[Path]] = {}
        for path in sorted(self.scratch.glob("*/day=*/*.parquet")):
            day = path.parent.name.removeprefix("day=")
            if day != "none":
                hits.setdefault(day, []).append(path)
        joined, some = 0, list[str]()
        for day in sorted(hits):
            some.append(day)
            rows = self._rows([path for each in some for path in hits[each]])
            if rows >= BUCKET_ROWS or day == max(hits):
                self._count({each: hits[each] for each in some})
                joined, some = joined + rows, []
        for day, paths in hits.items():
            self._keep(day, paths)
        shutil.rmtree(self.scratch, ignore_errors=True)
        return tuple(sorted(hits)), joined

    def _count(self, hits: dict[str, list[Path]]) -> None:
        """The counts of some days: less what they had for the rows of the hits, plus what is true of them now."""
        older = [self.folder.path(name) for day in hits for name in self.manifest.joined.get(day, ())]
        counted = [self.folder.path(self.manifest.cohorts[day]) for day in hits if day in self.manifest.cohorts]
        paths = [path for each in hits.values() for path in each]
        *made, query = sql.counts(paths, older, counted, self.prediction.kind)
        for statement in made:
            self.db.execute(statement)
        folder = self.scratch / "counts"
        options = "FORMAT parquet, PARTITION_BY (day), WRITE_PARTITION_COLUMNS true"
        self.db.execute("SET threads = 1")
        self.db.execute(f"COPY ({query}) TO {duck.literal(str(folder))} ({options})")
        self.db.execute("RESET threads")
        for path in folder.glob("day=*/*.parquet"):
            name = self.folder.new("cohort")
            path.rename(self.folder.path(name))
            sync_file(self.folder.path(name))
            self._set(cohorts=self.manifest.cohorts | {path.parent.name.removeprefix("day="): name})
        shutil.rmtree(folder)

    def _keep(self, day: str, paths: Sequence[Path]) -> None:
        """Take the hits of a day into the folder; many files become one, each row once."""
        older = self.manifest.joined.get(day, ())
        if len(older) + len(paths) > MERGE_FILES:
            name = self.folder.new("joined")
            everything = [*paths, *(self.folder.path(each) for each in older)]
            self._copy(sql.latest(sql.parquet(everything)), self.folder.path(name))
            names = (name,)
        else:
            moved = [self.folder.new("joined") for _ in paths]
            for path, name in zip(paths, moved, strict=True):
                path.rename(self.folder.path(name))
                sync_file(self.folder.path(name))
            names = (*older, *moved)
        self._set(joined=self.manifest.joined | {day: names})
