"""Label shift: how often each class occurs, estimated from a model's decisions and how it errs on the reference.

Lipton, Wang, Smola, "Detecting and Correcting for Label Shift with Black Box Predictors", ICML 2018. `prove.shifts`
compares it with the detectors that the platform has.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats
from argosy.monitoring.multivariate.outputs import chi_square
from argosy.monitoring.multivariate.shift import Shift, largest
from argosy.spec.errors import InvalidArgument

Codes = npt.NDArray[np.int64]


def ratios(labels: Codes, decided: Codes, current: Codes, classes: int) -> Floats:
    """(classes,): how many times as often each class occurs in the window as in the reference; 1 without a shift.

    `labels` and `decided` (m,) are the reference's, `current` (n,) the window's decisions, all codes below `classes`.
    Non-negative least squares in place of the inverse, so that a class cannot occur less than never. Raises
    InvalidArgument where the model's decisions do not tell the classes apart: then nothing can be said about them.
    """
    optimize = require("scipy.optimize", "monitoring", "The estimate of label shift")
    if len(labels) != len(decided) or not len(labels) or not len(current):
        raise InvalidArgument(
            "label shift needs a label for each decision of the reference, and decisions of the window"
        )
    joint = np.bincount(decided * classes + labels, minlength=classes**2).reshape(classes, classes) / len(labels)
    if np.linalg.cond(joint) > 1e6:
        raise InvalidArgument(
            "the model's decisions on the reference do not tell all classes apart, so their frequencies cannot be told "
            "from its decisions; give a reference in which every class occurs and is found at times"
        )
    shares = np.bincount(current, minlength=classes) / len(current)
    return np.asarray(optimize.nnls(joint, shares)[0], float)


def compare_labels(labels: Codes, decided: Codes, current: Codes, names: Sequence[str]) -> Shift:
    """The shift of label frequencies: `effect` is their estimated total variation distance, the causes are each class's
    estimated change of its share, p that of χ² on the decisions."""
    classes = len(names)
    before = np.bincount(labels, minlength=classes) / max(len(labels), 1)
    after = before * ratios(labels, decided, current, classes)
    after /= max(float(after.sum()), 1e-300)
    p = chi_square(np.stack([np.bincount(side, minlength=classes) for side in (decided, current)]).astype(float))
    most = int(np.argmax(np.abs(after - before)))
    return Shift(
        method="label shift",
        effect=float(np.abs(after - before).sum() / 2),
        p=p,
        causes=largest(after - before, names),
        text=f"'{names[most]}' occurs in an estimated {after[most]:.1%} of rows, {before[most]:.1%} before (p {p:.2g})",
    )
