"""What a user declares of how an endpoint's model is watched: what its prediction is, and what it is compared with."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from argosy.spec.strict import Declaration, Positive, Share, repeated, require

CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "auroc")
REGRESSION = ("mae", "rmse")
METRICS = CLASSIFICATION + REGRESSION


class Monitor(Declaration, frozen=True, kw_only=True):
    """How well the model does, and in what parts of the traffic drift is searched for.

    `decision` and `score` name columns of the payload log (`output.label`); a score is the probability of `positive`,
    or a list by class. What is left out follows from the signature where only one answer is possible; of a model that
    gives scores alone, the decision is `positive` from `threshold` (0.5) on, or the class that scores highest.
    `classes` are the labels in the order of the scores: (0, 1), or counted from 0, if left out.

    `reference` is a file (.parquet or .csv) of rows that the model was not trained on: its inputs, and what was true of
    them in the column `label`. Without it performance is measured once labels come, and not estimated before.

    Performance is evaluated for every `every` seconds of predictions. An alert is due where `metric` falls by more than
    `margin` below what it is on the reference (an error: where it grows by more than this part of it), or where labels
    say that the estimate was too good by more than `gap`.

    `segments` are columns whose values are evaluated one by one; with the `season` `week` the hour of the week is
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
    margin: Positive = 0.05
    gap: Share = 0.02
    every: Annotated[int, Meta(ge=10, le=604800)] = 3600
    segments: tuple[str, ...] = ()
    season: Literal["none", "week"] = "none"

    where: ClassVar[str] = "monitor: "

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {"classification": CLASSIFICATION, "regression": REGRESSION}.get(self.kind, METRICS)
        classified = self.score or self.threshold is not None or self.positive or self.classes
        checks = {
            "segments has a column twice": not repeated(self.segments),
            "segments may have 8 columns": len(self.segments) <= 8,
            "classes has a label twice": not repeated(self.classes),
            "label must not be empty": bool(self.label),
            "score, threshold, positive and classes are of a classification": self.kind != "regression"
            or not classified,
            "threshold has no effect where a decision is named": self.threshold is None or not self.decision,
            "classes must have at least 2 labels": len(self.classes) != 1,
            f"positive '{self.positive[:80]}' is none of classes": not (self.positive and self.classes)
            or self.positive in self.classes,
            f"metric '{self.metric}' is none of a {self.kind}": self.metric in ("", *known),
        }
        require(self.where, checks)

    @property
    def judges(self) -> tuple[str, ...]:
        """The settings that are given and need a payload log."""
        mine = (each for each in msgspec.structs.fields(self) if each.name not in ("segments", "season"))
        return tuple(each.name for each in mine if getattr(self, each.name) != each.default)
