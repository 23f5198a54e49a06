"""What a user declares of how an endpoint's model is watched: what its prediction is, and what it is compared with."""

import math
from typing import Literal

import msgspec

from argosy.spec.errors import InvalidArgument

CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "auroc")
REGRESSION = ("mae", "rmse")


class Monitor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well the model does, and by what parts of the traffic drift is looked for.

    `decision` and `score` name columns of the payload log (`output.label`); a score is the probability of `positive`,
    or a list by class. What is left out follows from the signature where only one answer is possible; of a model that
    gives scores alone, the decision is `positive` from `threshold` (0.5) on, or the class that scores highest.
    `classes` are the labels in the order of the scores: (0, 1), or counted from 0, if left out.

    `reference` is a file (.parquet or .csv) of rows that the model was not trained on: its inputs, and what was true of
    them in the column `label`. Without it performance is measured once labels come, and not estimated before.

    Performance is told for every `every` seconds of predictions. An alert is due where `metric` falls by more than
    `margin` below what it is on the reference (an error: where it grows by more than this part of it), or where labels
    say that the estimate was too good by more than `gap`.

    `segments` are columns whose values are looked at one by one; with the `season` `week` the hour of the week is
    compared with the same hour. These two alone need no payload log.
    """

    kind: Literal["", "classification", "regression"] = ""
    decision: str = ""
    score: str = ""
    threshold: float | None = None
    positive: str = ""
    classes: tuple[str, ...] = ()
    reference: str = ""
    label: str = "label"
    metric: Literal["", "accuracy", "precision", "recall", "f1", "auroc", "mae", "rmse"] = ""
    margin: float = 0.05
    gap: float = 0.02
    every: int = 3600
    segments: tuple[str, ...] = ()
    season: Literal["none", "week"] = "none"

    def __post_init__(self) -> None:
        checks = {
            "margin must be above 0 and finite": 0 < self.margin < math.inf,
            "gap must be 0 to 1": 0 <= self.gap <= 1,
            "every must be 10 to 604800 seconds": 10 <= self.every <= 604800,
            "segments has a column twice": len(set(self.segments)) == len(self.segments),
            "segments may have 8 columns": len(self.segments) <= 8,
            "classes has a label twice": len(set(self.classes)) == len(self.classes),
            "label must not be empty": bool(self.label),
            "score, threshold, positive and classes are of a classification": self.kind != "regression"
            or not (self.score or self.threshold is not None or self.positive or self.classes),
            "threshold must be finite": self.threshold is None or math.isfinite(self.threshold),
            "threshold has no effect where a decision is named": self.threshold is None or not self.decision,
            "classes must have at least 2 labels": len(self.classes) != 1,
            f"positive '{self.positive[:80]}' is none of classes": not (self.positive and self.classes)
            or self.positive in self.classes,
            f"metric '{self.metric}' is none of a {self.kind}": self.metric in ("", *self._metrics()),
        }
        for message, good in checks.items():
            if not good:
                raise InvalidArgument(f"monitor: {message}")

    def _metrics(self) -> tuple[str, ...]:
        kinds = {"classification": CLASSIFICATION, "regression": REGRESSION}
        return kinds.get(self.kind, CLASSIFICATION + REGRESSION)

    @property
    def judges(self) -> tuple[str, ...]:
        """The settings that are given and need a payload log."""
        mine = (each for each in msgspec.structs.fields(self) if each.name not in ("segments", "season"))
        return tuple(each.name for each in mine if getattr(self, each.name) != each.default)
