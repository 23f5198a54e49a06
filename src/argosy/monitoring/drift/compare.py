"""One window against the reference, once: what `argosy drift` shows and a pipeline's exit code rests on."""

from dataclasses import dataclass

import numpy as np

from argosy.monitoring.drift.detector import columns_evidence, e_bh, fold, start
from argosy.monitoring.drift.effect import Effect, Margins, effects
from argosy.monitoring.drift.geometry import Geometry
from argosy.monitoring.drift.statistics import Statistic, statistics
from argosy.profiles.layout import Floats

ALPHA = 0.05


@dataclass(frozen=True)
class Compared:
    """One column: its rows in the window, effects (the most material first), the statistics people know, the e-value
    against "drawn as the reference was", and whether both evidence and a material effect say that it has drifted."""

    column: str
    rows: int
    effects: tuple[Effect, ...]
    statistics: tuple[Statistic, ...]
    e: float
    drifted: bool


def compare(
    where: Geometry,
    reference: Floats,
    window: Floats,
    *,
    alpha: float = ALPHA,
    margins: Margins = Margins(),  # noqa: B008
) -> tuple[Compared, ...]:
    """All columns, the strongest evidence first. Of the columns named drifted at most a share `alpha` is so falsely, on
    average, for one look; for looks that go on use `detector.look`. `reference` and `window` are counts (D, C)."""
    if not len(where.columns):
        return ()
    logs = columns_evidence(where, fold(where, start(where, reference), window, reference))
    blamed = set(e_bh(logs, 1 / alpha).tolist())
    out: list[Compared] = []
    for place, column in enumerate(where.columns):
        found = effects(column, where.scores[place], reference[place], window[place], margins)
        out.append(
            Compared(
                column=column.name,
                rows=int(window[place].sum()),
                effects=found,
                statistics=statistics(column, reference[place], window[place]),
                e=float(np.exp(min(logs[place], 700.0))),
                drifted=place in blamed and any(effect.material for effect in found),
            )
        )
    return tuple(sorted(out, key=lambda one: -one.e))
