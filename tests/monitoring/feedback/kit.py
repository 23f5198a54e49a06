"""Predictions in a payload log, and labels of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from argosy.monitoring.feedback import intake, sql
from argosy.monitoring.feedback.event import Label, accept
from argosy.monitoring.feedback.folder import LabelFolder
from argosy.monitoring.feedback.join import Prediction, Step, step
from argosy.spec.signature import Signature, TensorSpec
from argosy.store import duck
from argosy.store.payloads import segment
from argosy.store.payloads.columns import columns
from argosy.store.payloads.encode import Encoder
from argosy.store.payloads.record import REQUEST, Rows

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86400
PREDICTION = Prediction(decision="output.label", score="output.score")

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 1), columns=("a",)),),
    outputs=(
        TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label"),
        TensorSpec(name="score", datatype="FP32", shape=(-1,), semantic="probability"),
    ),
)


def predict(root: Path, *predictions: tuple[str, float, int], version: str = "1", endpoint: str = "m") -> None:
    """Log predictions: request id, seconds after START, what was predicted."""
    base = int(START.timestamp())
    values = [value for _, _, value in predictions]
    came = Rows(
        requests=np.array([(int((base + at) * 1e9), 1000, 1.0, 1, 200) for _, at, _ in predictions], REQUEST),
        ids=[name for name, _, _ in predictions],
        inputs={"x": np.zeros((len(predictions), 1), "f4")},
        outputs={"label": np.array(values), "score": np.array(values, "f4") / 10},
    )
    encoder = Encoder(columns=columns(SIGNATURE), replica="m-0f0f0f-0")
    segment.write(root / "payloads", endpoint, version, [encoder.table(came)])


def folder(root: Path) -> LabelFolder:
    return LabelFolder(root / "feedback", "m").create()


def tell(root: Path, *labels: Label, at: float = 40 * DAY, key: str = "") -> None:
    """Send labels, `at` seconds after START."""
    taken = accept(labels, START.timestamp() + at, key)
    assert taken.refused == ()
    intake.append(folder(root), taken.labels)


def label(name: str, value: str | float | bool, at: float = 2 * DAY, **more) -> Label:
    return Label(request_id=name, label=value, time=START.timestamp() + at, **more)


def join(root: Path, prediction: Prediction = PREDICTION, days: float = 40) -> Step:
    """So many days after START."""
    now = START + timedelta(days=days)
    return step(folder(root), root / "payloads", prediction, memory="400MB", threads=2, keep_days=100, now=now)


def rows(place: LabelFolder) -> Any:
    """The labelled predictions, each once, by time."""
    files = [place.path(name) for names in place.manifest().joined.values() for name in names]
    if not files:
        return None
    columns = "request_id, row, version, time, decision, score, weight, label, known"
    query = f"SELECT {columns} FROM ({sql.latest(sql.parquet(files))}) ORDER BY time, request_id, row, version"
    with duck.opened() as connection:
        return connection.sql(query).to_arrow_table()
