"""The queries of the join. Text in, text out."""

from collections.abc import Sequence
from pathlib import Path

from argosy.store import duck

GROWTH = 1.05
"""Delays are counted in buckets this much wider each."""
ORDER = "label_version DESC, known DESC, label DESC, time DESC, decision DESC"
"""Which of several labels of a row counts: every column that is counted decides, so that it never depends on chance."""

COUNTED = "mark, mark2, version, time, decision, label, label_version, known, first"
"""The columns that counting needs."""


def parquet(paths: Sequence[Path]) -> str:
    """Files as a table, a column that some lack NULL in theirs; the folders they lie in say nothing."""
    return f"read_parquet({duck.files(paths)}, hive_partitioning = false, union_by_name = true)"


def plain(column: str, kind: str) -> str:
    """A column of predictions as text, as `event.plain` writes it."""
    if kind in ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"):
        number = f"CAST({column} AS TINYINT)" if kind == "BOOLEAN" else column
        return f"CAST({number} AS VARCHAR)"
    return f"plain({column})"


def highest(score: str, classes: Sequence[str]) -> str:
    """The class whose place in a list of scores holds the highest; NULL where one is no number."""
    names = "[" + ", ".join(duck.literal(name) for name in classes) + "]"
    return f"CASE WHEN isfinite(list_sum({score})) THEN {names}[list_position({score}, list_max({score}))] END"


def beyond(score: str, threshold: float, positive: str, other: str) -> str:
    """`positive` where a score is at least the threshold, else `other`; NULL where it is no number."""
    said = f"CASE WHEN {score} >= {threshold!r} THEN {duck.literal(positive)} ELSE {duck.literal(other)} END"
    return f"CASE WHEN isfinite({score}) THEN {said} END"


PREDICTIONS = """(SELECT version, {id} AS request_id, row, time, {decision} AS decision, {score} AS score, weight
  FROM {source} WHERE {decision} IS NOT NULL)"""

SERVED = """SELECT version, date_trunc('hour', time) AS hour, count(*) AS n,
  CAST(sum(CAST(weight AS DECIMAL(38, 6))) AS DECIMAL(38, 6)) AS weight FROM {predictions} GROUP BY ALL"""

MERGE_SERVED = """SELECT version, hour, CAST(sum(n) AS BIGINT) AS n, CAST(sum(weight) AS DECIMAL(38, 6)) AS weight
FROM {served} GROUP BY ALL"""

SENT = """(SELECT request_id, row, label, version AS label_version, time AS known, time AS first, received, source,
  key FROM (FROM {files} UNION ALL BY NAME SELECT NULL::VARCHAR AS key WHERE false))"""
"""Labels as they came; those of files, and of earlier versions, have no key."""

USED = "(SELECT request_id, row, label, label_version, known, first, received, source FROM {files})"
"""Labels that met a prediction already: another version's, or an earlier try's, may come after it."""

MATCH = """SELECT * EXCLUDE (m),
  CAST(m >> 64 AS UBIGINT) AS mark, CAST(m & 18446744073709551615 AS UBIGINT) AS mark2 FROM (
  SELECT l.*, p.version, p.time, {decision} AS decision, {score} AS score, p.weight,
    COALESCE(strftime(p.time, '%Y-%m-%d'), 'none') AS day,
    md5_number(l.row || ' ' || day || ' ' || length(p.version) || ' ' || p.version || l.request_id) AS m
  FROM (SELECT * FROM {labels} {share}) l
  {side} JOIN (SELECT * FROM {predictions} {share}) p ON l.request_id = p.request_id AND l.row = p.row)"""
"""`mark` and `mark2` together name a row of a request to a version on a day: what there may be one of."""


NEWEST = """SELECT * FROM {waiting}
  ORDER BY row_number() OVER (PARTITION BY COALESCE(key, '') ORDER BY received DESC), received DESC LIMIT {most}"""
"""Of labels that wait, each sender's newest: who has few keeps them all."""


def latest(table: str, columns: str = "*") -> str:
    """Each row once, with the label that counts; `first` is when a label of it was known first.

    Only rows of which there may be several are sorted.
    """
    doubles = f"(SELECT mark FROM {table} GROUP BY mark HAVING count(*) > 1)"
    return f"""
SELECT {columns} FROM {table} ANTI JOIN {doubles} USING (mark)
UNION ALL BY NAME
SELECT {columns} FROM (SELECT * REPLACE (min(first) OVER (PARTITION BY mark, mark2) AS first) FROM {table}
  SEMI JOIN {doubles} USING (mark)
  QUALIFY row_number() OVER (PARTITION BY mark, mark2 ORDER BY {ORDER}) = 1)"""


def counts(hits: Sequence[Path], older: Sequence[Path], counted: Sequence[Path], kind: str) -> list[str]:
    """Statements that bring the counts of some days up to date; the last is the query of the new ones, with `day`.

    Taken off is what was counted for every row with the mark of a hit, added what is true of all of them: that two
    rows may share a mark does no harm.
    """
    made = [f"CREATE OR REPLACE TEMP TABLE hits AS {latest(parquet(hits), COUNTED)}"]
    if not older:
        return [*made, _sum(_groups("hits", kind, 1))]
    touched = f"SELECT {COUNTED} FROM {parquet(older)} SEMI JOIN hits USING (mark)"
    made.append(f"CREATE OR REPLACE TEMP TABLE touched AS {touched}")
    made.append(f"CREATE OR REPLACE TEMP TABLE before AS {latest('touched')}")
    made.append("CREATE OR REPLACE TEMP TABLE every AS FROM hits UNION ALL BY NAME FROM before")
    parts = [f"SELECT * FROM {parquet(counted)}"] if counted else []
    return [*made, _sum(*parts, _groups("before", kind, -1), _groups(f"({latest('every')})", kind, 1))]


def _groups(table: str, kind: str, sign: int) -> str:
    """Counts by version and hour (for classes also by what was predicted and what was true), and by delay."""
    error = "abs(TRY_CAST(decision AS DOUBLE) - TRY_CAST(label AS DOUBLE))"
    regression = kind == "regression"
    absolute, squared = (error, f"{error} * {error}") if regression else ("NULL", "NULL")
    pair = "'' AS decision, '' AS label" if regression else "decision, label"
    where = f"WHERE TRY_CAST({error} * {error} AS DECIMAL(38, 9)) IS NOT NULL" if regression else ""
    seconds = "greatest(epoch_us(first) - epoch_us(time), 0) / 1e6"
    return f"""
SELECT strftime(hour, '%Y-%m-%d') AS day, version, hour, decision, label, delay, {sign} * count(*) AS n,
  {sign} * COALESCE(sum(absolute), 0) AS absolute, {sign} * COALESCE(sum(squared), 0) AS squared
FROM (SELECT version, date_trunc('hour', time) AS hour, {pair},
  CASE WHEN {seconds} <= 1 THEN 0 ELSE 1 + CAST(floor(ln({seconds}) / ln({GROWTH})) AS INTEGER) END AS delay,
  TRY_CAST({absolute} AS DECIMAL(38, 9)) AS absolute, TRY_CAST({squared} AS DECIMAL(38, 9)) AS squared
  FROM {table} {where})
GROUP BY GROUPING SETS ((day, version, hour, decision, label), (day, version, delay))"""


def _sum(*parts: str) -> str:
    return f"""
SELECT day, version, hour, decision, label, delay, CAST(sum(n) AS BIGINT) AS n,
  CAST(sum(absolute) AS DECIMAL(38, 9)) AS absolute, CAST(sum(squared) AS DECIMAL(38, 9)) AS squared
FROM ({" UNION ALL BY NAME ".join(parts)}) GROUP BY day, version, hour, decision, label, delay HAVING sum(n) <> 0"""
