"""`python -m prove.feedback`: 10 M predictions and 10 M late labels, and one day more: how long, how much memory.

Each measured command is a process of its own, bound to two cores; its peak memory is what the system says of it. The
counts are compared with those of one plain SQL join over everything.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DAYS = 30
START = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS, MEMORY, DAY_SECONDS = 60.0, 2 * 1024**3, 3.0

PREDICTIONS = """
COPY (SELECT CAST(uuid() AS VARCHAR) AS request_id, 0::INTEGER AS row, 1::INTEGER AS rows,
    TIMESTAMPTZ '{start}' + to_microseconds(CAST((i + random()) * {step} AS BIGINT)) AS time,
    'm-0f0f0f-0' AS replica, 200::INTEGER AS code, 0.002::DOUBLE AS latency, 1.0::DOUBLE AS weight,
    hash(i) AS features, random()::FLOAT AS "input.a", random()::FLOAT AS "input.b", random()::FLOAT AS "input.c",
    (random() < 0.3)::BIGINT AS "output.label", random()::FLOAT AS "output.score"
  FROM range({rows}) t(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)"""

LABELS = """
COPY (SELECT request_id, (CASE WHEN random() < 0.85 THEN "output.label" ELSE 1 - "output.label" END) AS label,
    time + to_microseconds(CAST(exp(ln(86400.0 * 2) + 1.0 * sqrt(-2 * ln(random() + 1e-12)) * cos(6.2831853 * random()))
      * 1e6 AS BIGINT)) AS time
  FROM read_parquet('{payloads}/**/*.parquet', hive_partitioning = false) {share})
TO '{path}' (FORMAT parquet, COMPRESSION zstd)"""

PLAIN = """
SELECT date_trunc('day', p.time) AS day, p."output.label" AS predicted, l.label AS true, count(*) AS n
FROM read_parquet('{payloads}/**/*.parquet', hive_partitioning = false) p
JOIN (SELECT request_id, max_by(label, (time, label)) AS label FROM read_parquet({labels}) GROUP BY request_id) l
USING (request_id) GROUP BY ALL ORDER BY ALL"""


def make(home: Path, total: int) -> None:
    """Thirty days of predictions and two files of labels: what is known by then, and what one more day brings.

    One label in 31 is held back for that day, most of them of the latest predictions, and 1 % of the day's are
    corrections of labels that were there before.
    """
    import duckdb

    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    per_hour = total // (DAYS * 24)
    for hour in range(DAYS * 24):
        _hour(db, home / "payloads", hour, per_hour)
    share = "WHERE hash(request_id) % 10000 {} 645 * exp((epoch(time) - epoch(TIMESTAMPTZ '2026-01-31')) / 864000.0)"
    here = home / "payloads"
    db.execute(LABELS.format(payloads=here, share=share.format(">="), path=home / "first.parquet"))
    again = share.format("<") + " OR hash(request_id) % 3100 = 7"
    db.execute(LABELS.format(payloads=here, share=again, path=home / "second.parquet"))


def _hour(db: Any, payloads: Path, hour: int, rows: int) -> None:
    moment = datetime.fromtimestamp(START.timestamp() + hour * 3600, UTC)
    folder = payloads / f"endpoint=m/version=1/hour={moment:%Y-%m-%dT%H}"
    folder.mkdir(parents=True)
    step = 3600e6 / rows
    db.execute(PREDICTIONS.format(start=moment.isoformat(), step=step, rows=rows, path=folder / "a.parquet"))


def more(home: Path, total: int) -> None:
    """One more day of predictions."""
    import duckdb

    db = duckdb.connect()
    for hour in range(DAYS * 24, DAYS * 24 + 24):
        _hour(db, home / "payloads", hour, total // (DAYS * 24))


def turn(home: Path, labels: str) -> dict[str, Any]:
    """Load a file of labels and join: what the child process does."""
    from argosy.monitoring.feedback import intake
    from argosy.monitoring.feedback.folder import LabelFolder
    from argosy.monitoring.feedback.join import Prediction, step

    folder = LabelFolder(home / "feedback", "m")
    began = time.perf_counter()
    loaded = intake.load(folder, home / labels, time.time())
    middle = time.perf_counter()
    made = step(folder, home / "payloads", Prediction(decision="output.label", score="output.score"), threads=2)
    ended = time.perf_counter()
    return {
        "load": middle - began,
        "join": ended - middle,
        "labels": loaded.labels,
        "joined": made.joined,
        "waiting": made.waiting,
        "days": len(made.days),
        "cpu": time.process_time(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def measured(home: Path, labels: str) -> dict[str, Any]:
    """`turn` in a process of its own, on two cores."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    command = [sys.executable, "-m", "prove.feedback", "--turn", str(home), labels]
    result = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    return json.loads(result.stdout)


def exact(home: Path) -> bool:
    """Whether the counts are those of one plain join of everything."""
    import duckdb

    from argosy.monitoring.feedback.cohort import performance
    from argosy.monitoring.feedback.folder import LabelFolder

    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'; SET memory_limit = '2GB'")
    files = [str(path) for path in (home / "feedback" / "endpoint=m" / "labels").glob("*.parquet")]
    rows = db.execute(PLAIN.format(payloads=home / "payloads", labels=files)).fetchall()
    plain = {(day.replace(tzinfo=UTC), str(p), str(t)): n for day, p, t, n in rows}
    cohorts = performance(LabelFolder(home / "feedback", "m"), datetime.now(UTC)).cohorts
    ours = {(c.start.astimezone(UTC), p, t): n for c in cohorts for (p, t), n in c.matrix.items()}
    return plain == ours


def report(name: str, found: dict[str, Any], seconds: float) -> bool:
    """Print a line; whether it keeps its bounds."""
    took = found["load"] + found["join"]
    good = took <= seconds and found["peak"] <= MEMORY
    print(
        f"{name}: {found['labels']:,} labels loaded in {found['load']:.1f} s, joined in {found['join']:.1f} s "
        f"({found['joined']:,} hits on {found['days']} days, {found['waiting']:,} wait), "
        f"peak {found['peak'] / 1e9:.2f} GB; "
        f"{found['cpu']:.0f} s of CPU; {took:.1f} s of {seconds:.0f} s" + ("" if good else " (missed)"),
        flush=True,
    )
    return good


def main() -> int:
    """1 if a target is missed or a count differs."""
    parser = argparse.ArgumentParser(prog="python -m prove.feedback", description=__doc__)
    parser.add_argument("--predictions", type=int, default=10_333_440)
    parser.add_argument("--turn", nargs=2, metavar=("HOME", "LABELS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.turn:
        print(json.dumps(turn(Path(options.turn[0]), options.turn[1])))
        return 0
    with tempfile.TemporaryDirectory(prefix="feedback") as folder:
        home = Path(folder)
        make(home, options.predictions)
        good = report("everything", measured(home, "first.parquet"), SECONDS)
        more(home, options.predictions)
        good &= report("one day more", measured(home, "second.parquet"), DAY_SECONDS)
        same = exact(home)
        print("the counts are those of one plain join of everything" if same else "the counts differ from a plain join")
    return 0 if good and same else 1


if __name__ == "__main__":
    sys.exit(main())
