"""Estimates without labels: a window of the log against the reference of its version."""

import functools

from argosy.monitoring.performance import cbpe, loss, reweighted
from argosy.monitoring.performance.cbpe import Calibrated
from argosy.monitoring.performance.estimate import Estimate, Performance
from argosy.monitoring.performance.loss import Losses
from argosy.monitoring.performance.realised import area, classification, errors_of, matrix_of, regression
from argosy.monitoring.performance.reference import Reference
from argosy.monitoring.performance.roles import Roles
from argosy.monitoring.performance.rows import Rows
from argosy.monitoring.performance.window import Reference as Known
from argosy.monitoring.performance.window import Window

LEAST_ROWS = 30
"""Fewer say nothing of a density, and little of a metric."""


class Estimator:
    """What one reference can say; what it has learnt is kept for the next window."""

    def __init__(self, reference: Reference, roles: Roles) -> None:
        self.reference, self.roles = reference, roles

    def expected(self) -> dict[str, Estimate]:
        """Every metric on the reference itself; `sampling` is what its rows leave open."""
        found, roles = self.reference.rows, self.roles
        assert found.labels is not None
        if roles.kind == "regression":
            return regression(errors_of(found.decided, found.labels))
        counts = matrix_of(found.decided, found.labels, found.classes)
        made = classification(counts, found.classes, roles.positive)
        if found.scores is not None and found.scores.ndim == 1:
            side = area(found.scores, (found.labels == found.classes.index(roles.positive)).astype(float))
            made |= {"auroc": side} if side else {}
        return made

    def estimate(self, window: Rows) -> Performance:
        """All metrics of a window, or the reason why there are none."""
        count = len(window.decided)
        if window.total and not count:
            return _none(count, f"none of the {window.total:,} predictions is a finite number or a known class")
        if count < LEAST_ROWS:
            return _none(count, f"{count} rows are too few; {LEAST_ROWS} are the least")
        if self.roles.kind == "regression":
            return loss.estimate(self._losses, window.features, window.decided)
        if window.scores is None:
            return _none(count, "the model gives no score, only a class")
        if not window.names:
            return cbpe.estimate(self._calibrated, self._window(window))
        return reweighted.estimate(self._known, self._window(window))

    def _window(self, rows: Rows) -> Window:
        """As the estimators of classes take it: code 1 is the positive of two classes."""
        features = rows.features if rows.names else None
        scores, decided = rows.scores, rows.decided
        assert scores is not None
        return Window(scores=scores, decided=decided if self._ahead else 1 - decided, features=features)

    @property
    def _ahead(self) -> bool:
        classes = self.reference.rows.classes
        return len(classes) != 2 or classes.index(self.roles.positive) == 1

    @functools.cached_property
    def _known(self) -> Known:
        rows = self.reference.rows
        window = self._window(rows)
        assert rows.labels is not None
        labels = rows.labels if self._ahead else 1 - rows.labels
        return Known(scores=window.scores, decided=window.decided, features=window.features, labels=labels)

    @functools.cached_property
    def _calibrated(self) -> Calibrated:
        return cbpe.fit(self._known)

    @functools.cached_property
    def _losses(self) -> Losses:
        rows = self.reference.rows
        assert rows.labels is not None
        return loss.fit(rows.features, rows.decided, rows.labels)


def _none(rows: int, reason: str) -> Performance:
    return Performance(estimates={}, rows=rows, reason=f"not estimable: {reason}")
