"""The rows performance is judged on: what was asked, what was answered, and for the reference also what was right."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from argosy.monitoring.binary import Floats
from argosy.spec.errors import InvalidArgument

Codes = npt.NDArray[np.int64]


class Window(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """n rows of a classifier. `scores` (n,) for two classes, of which more means class 1, or (n, classes); `decided`
    (n,) the class each was given, as a code from 0; `features` (n, columns) where a method needs them, NaN for
    missing."""

    scores: Floats
    decided: Codes
    features: Floats | None = None


class Reference(Window, frozen=True, eq=False, kw_only=True):
    """Rows with their labels (n,), that the model was not trained on: on its training rows it looks better than it
    is."""

    labels: Codes


def check(window: Window, like: Window | None = None) -> None:
    """Raises InvalidArgument where lengths, columns or codes do not fit, or a score is not a number."""
    rows = len(window.scores)
    parts: dict[str, Any] = {"decided": window.decided, "features": window.features}
    if isinstance(window, Reference):
        parts["labels"] = window.labels
    for name, part in parts.items():
        if part is not None and len(part) != rows:
            raise InvalidArgument(f"{name} has {len(part)} rows and scores {rows}; give one for each row")
    if not rows:
        raise InvalidArgument("there are no rows; give at least one")
    if not np.isfinite(window.scores).all():
        count = int((~np.isfinite(window.scores)).reshape(rows, -1).any(axis=1).sum())
        raise InvalidArgument(f"{count} of {rows} rows have scores that are not finite numbers; leave these rows out")
    classes = 2 if window.scores.ndim == 1 else window.scores.shape[1]
    for name in ("decided", "labels"):
        codes = parts.get(name)
        if codes is not None and (codes.min() < 0 or codes.max() >= classes):
            raise InvalidArgument(f"{name} holds codes outside 0 to {classes - 1}; the scores are of {classes} classes")
    if like is not None:
        _alike(window, like)


def _alike(window: Window, like: Window) -> None:
    for name in ("scores", "features"):
        ours, theirs = getattr(window, name), getattr(like, name)
        if (ours is None) != (theirs is None) or (ours is not None and ours.shape[1:] != theirs.shape[1:]):
            raise InvalidArgument(
                f"the window's {name} do not have the columns of the reference's; compare like with like"
            )


def table(window: Window) -> Floats:
    """The features (n, columns). Raises InvalidArgument where there are none."""
    if window.features is None:
        raise InvalidArgument(
            "importance weighting compares features, and there are none; give them, or use CBPE alone"
        )
    return np.asarray(window.features, float).reshape(len(window.features), -1)
