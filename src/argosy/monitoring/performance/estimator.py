"""Estimates without labels: a window of the log against the reference of its version."""

import functools

from argosy.monitoring.performance import cbpe, loss
from argosy.monitoring.performance.cbpe import Curves, Window
from argosy.monitoring.performance.estimate import Estimate, Performance
from argosy.monitoring.performance.loss import Losses
from argosy.monitoring.performance.metrics import area, classification, errors_of, matrix_of, regression
from argosy.monitoring.performance.reference import Reference
from argosy.monitoring.performance.roles import Roles
from argosy.monitoring.performance.rows import Rows
from argosy.store.findings import Verdict

LEAST_ROWS = 30
"""Fewer say nothing of a density, and little of a metric."""


class Estimator:
    """What one reference can say; what it has learnt is used for the next window, too."""

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
        count, reason = len(window.decided), ""
        if window.total and not count:
            reason = f"none of the {window.total:,} predictions is a finite number or a known class"
        elif count < LEAST_ROWS:
            reason = f"{count} rows are too few; {LEAST_ROWS} are the least"
        elif self.roles.kind == "regression":
            return loss.estimate(self._losses, window.features, window.decided)
        elif window.scores is None:
            reason = "the model gives no score, only a class"
        if reason:
            return Performance(estimates={}, rows=count, reason=f"{Verdict.NOT_ESTIMABLE}: {reason}")
        if not window.names:
            return cbpe.estimate(self._curves, self._window(window))
        return cbpe.reweighted(self._known, self._window(window))

    def _window(self, rows: Rows) -> Window:
        """As `cbpe` takes it: code 1 is the positive of two classes."""
        features = rows.features if rows.names else None
        assert rows.scores is not None
        decided = 1 - rows.decided if self._swapped else rows.decided
        return Window(scores=rows.scores, decided=decided, features=features)

    @property
    def _swapped(self) -> bool:
        classes = self.reference.rows.classes
        return len(classes) == 2 and classes.index(self.roles.positive) == 0

    @functools.cached_property
    def _known(self) -> cbpe.Reference:
        rows = self.reference.rows
        window = self._window(rows)
        assert rows.labels is not None
        labels = 1 - rows.labels if self._swapped else rows.labels
        return cbpe.Reference(scores=window.scores, decided=window.decided, features=window.features, labels=labels)

    @functools.cached_property
    def _curves(self) -> Curves:
        return cbpe.fit(self._known)

    @functools.cached_property
    def _losses(self) -> Losses:
        rows = self.reference.rows
        assert rows.labels is not None
        return loss.fit(rows.features, rows.decided, rows.labels)
