"""Which columns of a payload log are decision, score and features, as declared or as the signature leaves no doubt."""

import math
from collections.abc import Iterable, Sequence

from argosy.monitoring.feedback.event import plain
from argosy.monitoring.feedback.join import Kind, Prediction
from argosy.spec.errors import InvalidArgument
from argosy.spec.language import RECORDED
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.payloads.columns import Column, columns

MOST_FEATURES = 1024
"""Beyond, no features are compared, and estimates rest on scores alone."""


class Roles(Prediction, frozen=True, kw_only=True):
    """The columns performance is about, by their names in the log. `features` are the inputs that the log has as they
    came; `classes` none where there are no scores, and `positive` none for the mean over all classes."""

    features: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """What alerts are about where nothing else is declared."""
        return "accuracy" if self.kind == "classification" else "mae"


def roles(monitor: Monitor, signature: Signature, log: PayloadLog) -> Roles:
    """Raises InvalidArgument where a named column is not in the log, or cannot be what it is said to be, and where one
    that is not named could be several."""
    found = [column for column in columns(signature, log) if not column.hashed and column.form in ("value", "fixed")]
    specs = {spec.name: spec for spec in signature.outputs}
    outputs = [column for column in found if column.side == "output"]
    decision, score = _named(monitor.decision, outputs, "decision"), _named(monitor.score, outputs, "score")
    kind = monitor.kind or _kind(monitor, outputs, specs)
    inputs, sizes = [column for column in found if column.side == "input"], {s.name: s for s in signature.inputs}
    width = sum(1 if each.form == "value" else math.prod(sizes[each.tensor].shape[1:]) for each in inputs)
    features = tuple(column.name for column in inputs) if width <= MOST_FEATURES else ()
    if kind == "regression":
        decision = decision or _one(_numbers(outputs, specs), "decision")
        if decision is None:
            raise InvalidArgument("monitor.decision is needed: no output that the log holds is a number")
        return Roles(kind=kind, decision=decision.name, features=features)
    if decision is None and monitor.threshold is None:
        decision = _one(_labels([each for each in outputs if each != score], specs), "decision")
    if score is None:
        floats = [each for each in outputs if each != decision and each.datatype.startswith(("FP", "BF"))]
        chances = [each for each in floats if specs[each.tensor].semantic == "probability"]
        score = _one(chances or floats, "score")
    if decision is None and score is None:
        raise InvalidArgument(f"monitor.decision is needed: no output is clearly a label or a score; {_there(outputs)}")
    classes, positive = _classes(monitor.classes, score, specs), plain(monitor.positive)
    if positive and classes and positive not in classes:
        raise InvalidArgument(
            f"monitor.positive is '{positive[:80]}', and the classes are {', '.join(classes[:20])}: declare "
            "monitor.classes, the labels in the order of the scores"
        )
    return Roles(
        kind=kind,
        decision=decision.name if decision else "",
        score=score.name if score else "",
        threshold=0.5 if monitor.threshold is None else monitor.threshold,
        classes=classes,
        positive=positive or (classes[1] if len(classes) == 2 else ""),
        features=features,
        alias="output.id" if signature is RECORDED else "",
    )


def _kind(monitor: Monitor, outputs: Sequence[Column], specs: dict[str, TensorSpec]) -> Kind:
    if monitor.score or monitor.threshold is not None or monitor.positive or monitor.classes:
        return "classification"
    if monitor.metric:
        return "regression" if monitor.metric in ("mae", "rmse") else "classification"
    mine = [each for each in outputs if each.name == monitor.decision] if monitor.decision else outputs
    if _labels(mine, specs) or any(specs[each.tensor].semantic == "probability" for each in mine):
        return "classification"
    if mine and len(_numbers(mine, specs)) == len(mine):
        return "regression"
    raise InvalidArgument(f"monitor.kind is needed, classification or regression; {_there(outputs)}")


def _named(name: str, outputs: Iterable[Column], what: str) -> Column | None:
    if not name:
        return None
    if found := next((each for each in outputs if each.name == name), None):
        return found
    raise InvalidArgument(
        f"monitor.{what} names '{name[:80]}', which is no output that the log holds; {_there(outputs)}"
    )


def _labels(outputs: Iterable[Column], specs: dict[str, TensorSpec]) -> list[Column]:
    """Outputs that say a class: those that are marked or named so, or else those that are no floats."""
    values = [each for each in outputs if _single(each, specs)]
    marked = [each for each in values if specs[each.tensor].semantic == "label" or each.tensor == "label"]
    return marked or [each for each in values if not each.datatype.startswith(("FP", "BF"))]


def _numbers(outputs: Iterable[Column], specs: dict[str, TensorSpec]) -> list[Column]:
    return [each for each in outputs if each.datatype not in ("BYTES", "BOOL") and _single(each, specs)]


def _single(column: Column, specs: dict[str, TensorSpec]) -> bool:
    return column.form == "value" or specs[column.tensor].shape[1:] == (1,)


def _one(found: Sequence[Column], what: str) -> Column | None:
    if len(found) > 1:
        raise InvalidArgument(
            f"monitor.{what} is needed, since it could be several: {', '.join(each.name for each in found)}"
        )
    return found[0] if found else None


def _classes(named: Sequence[str], score: Column | None, specs: dict[str, TensorSpec]) -> tuple[str, ...]:
    """As declared, or counted from 0: as many as there are scores, two for a single one."""
    found = tuple(plain(each) for each in named)
    if score is None:
        return found
    width = 1 if score.form == "value" else specs[score.tensor].shape[-1]
    count = max(width, 2)
    if found and len(found) != count:
        raise InvalidArgument(f"monitor.classes has {len(found)} labels, and '{score.name}' is a score of {count}")
    return found or tuple(str(place) for place in range(count))


def _there(outputs: Iterable[Column]) -> str:
    return f"the log holds {', '.join(each.name for each in outputs) or 'no outputs'}"
