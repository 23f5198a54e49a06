"""US-census data on employment in Massachusetts, as the `nannyml` wheel has it: a model's scores and late labels.

The wheel is fetched once by pip into ~/.cache/argosy and only unzipped: nannyml itself is never installed.
"""

import io
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from argosy.monitoring.performance.cbpe import Reference

VERSION = "0.13.1"
CACHE = Path.home() / ".cache" / "argosy" / "nannyml"
FOLDER = "nannyml/datasets/data"
PROBABILITY, DECIDED, LABEL = "predicted_probability", "prediction", "employed"


@dataclass(frozen=True)
class Census:
    """`reference` is 2015, `analysis` 2016 to 2018, in the order of the files; `columns` name the features."""

    columns: tuple[str, ...]
    reference: Reference
    analysis: Reference

    def chunks(self, rows: int) -> list[Reference]:
        """The analysis period cut into windows of so many rows; the rest at the end is left out."""
        return [
            part(self.analysis, np.arange(s, s + rows)) for s in range(0, len(self.analysis.scores) - rows + 1, rows)
        ]


def part(whole: Reference, rows: npt.NDArray[np.int64]) -> Reference:
    """Some rows of a labelled table, by index."""
    assert whole.features is not None
    return Reference(
        scores=whole.scores[rows],
        decided=whole.decided[rows],
        features=whole.features[rows],
        labels=whole.labels[rows],
    )


def wheel(cache: Path = CACHE) -> Path:
    """The wheel, downloaded if it is not there."""
    found = sorted(cache.glob(f"nannyml-{VERSION}-*.whl"))
    if not found:
        cache.mkdir(parents=True, exist_ok=True)
        options = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--quiet", "--dest", str(cache)]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, f"nannyml=={VERSION}"], check=True)
        found = sorted(cache.glob(f"nannyml-{VERSION}-*.whl"))
    return found[0]


def load(cache: Path = CACHE) -> Census:
    """Codes of categories as numbers; `year` and `id` are no features."""
    with zipfile.ZipFile(wheel(cache)) as archive:
        reference, analysis, targets = (_table(archive, name) for name in ("reference", "analysis", "analysis_target"))
    assert (analysis["id"] == targets["id"]).all()
    left_out = {"id", "year", PROBABILITY, DECIDED, LABEL}
    columns = tuple(name for name in reference if name not in left_out)

    def rows(table: dict[str, npt.NDArray[np.float64]], labels: npt.NDArray[np.float64]) -> Reference:
        return Reference(
            scores=table[PROBABILITY],
            decided=table[DECIDED].astype(np.int64),
            features=np.stack([table[name] for name in columns], axis=1),
            labels=labels.astype(np.int64),
        )

    return Census(columns, rows(reference, reference[LABEL]), rows(analysis, targets[LABEL]))


def _table(archive: zipfile.ZipFile, name: str) -> dict[str, npt.NDArray[np.float64]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(archive.read(f"{FOLDER}/employment_MA_{name}.pq")))
    found: dict[str, npt.NDArray[np.float64]] = {}
    for column in table.column_names:
        values = table[column]
        if pa.types.is_dictionary(values.type):
            values = values.cast(pa.string()).cast(pa.float64())
        found[column] = values.to_numpy(zero_copy_only=False).astype(float)
    return found
