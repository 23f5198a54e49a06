"""scikit-learn, LightGBM, XGBoost → ONNX, accepted only where the converted model does as the original did.

The signature stays: names, datatypes and axes of inputs and outputs, so that a caller sees the same model either way.
What the original refuses is left out of the domains of the inputs, and refused as well.
"""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.engines import Engine, unpickle
from argosy.engines import load as load_engine
from argosy.engines.base import rows_of
from argosy.engines.trees import files, sklearn
from argosy.engines.trees import onnx as trees
from argosy.engines.trees.form import Ensemble
from argosy.packaging import bounds, domain, examine
from argosy.packaging.compare import OVERFLOW, Agreement, Comparison, Differs, Overflows, predict
from argosy.packaging.domain import Feeds, repeat
from argosy.packaging.examine import Task
from argosy.packaging.onnx_graph import Precision, to_onnx
from argosy.packaging.probes import Known, probes
from argosy.protocol import tensorfile
from argosy.spec.errors import StorageFull, Unsupported
from argosy.spec.package import Conversion, Tolerance
from argosy.spec.signature import Domain, Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Array
from argosy.store.durable import storage

MODEL = "model.onnx"
CLOSE = Tolerance(atol=1e-8, rtol=1e-5)
"""How close a converted model answers, where the user does not allow more."""
ROWS, ALONE = 400, 16
"""Rows made from the model's own data where there is no sample; rows that are also answered one by one."""
TYPES = ("FP32", "FP64", "INT64", "INT32", "BYTES", "BOOL")

Outcome = tuple[Conversion, Signature | None]
"""What became of the model, and the signature that the converted one has."""


class Original(msgspec.Struct):
    """The estimator, or the trees of another library, as an engine, the rows that are known, and what it says of
    itself. `answers`: the engine's for the rows, once it was asked."""

    estimator: Any
    library: str
    texts: trees.Texts
    engine: Engine
    rows: Feeds
    known: Known
    tolerance: Tolerance
    answers: list[Array]
    golden: Feeds

    @property
    def form(self) -> Ensemble | None:
        """The trees of another library."""
        return self.estimator if isinstance(self.estimator, Ensemble) else None


def convert(task: Task) -> Outcome:
    """Convert the estimator, and compare on the sample that `examine` left in `into` and on `probes`. The ONNX file is
    left there. A model that cannot be converted is no error."""
    assert task.signature is not None, "examine comes first"
    if kinds := {spec.datatype for spec in (*task.signature.inputs, *task.signature.outputs)} - {*TYPES}:
        return _left(task, f"its signature has {min(kinds)}, which ONNX and scikit-learn do not share")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            original = _original(task, task.signature)
            signature = _with_domains(original, task.signature)
        except (Unsupported, Differs) as error:
            return _left(task, str(error))
        wide = task.engine == "sklearn" and any(spec.datatype == "FP64" for spec in signature.inputs)
        reasons: dict[Precision, str] = {}
        for precision in ("FP64", "FP32") if wide else ("FP32",):
            try:
                return _converted(task, original, signature, precision)
            except StorageFull:
                raise
            except ImportError as error:
                return _left(task, f"{error.name} is not installed")
            except (Differs, Unsupported) as error:
                reasons[precision] = str(error)
            except Exception as error:
                text = " ".join(str(error).split(". It usually means")[0].split())[:200]
                reasons[precision] = f"skl2onnx cannot convert {type(original.estimator).__name__}: {text}"
    if len(distinct := {*reasons.values()}) == 1:
        return _left(task, distinct.pop())
    return _left(task, "; ".join(f"in {precision}, {reason}" for precision, reason in reasons.items()))


def _left(task: Task, reason: str) -> Outcome:
    return Conversion(source=task.engine, converted=False, reason=reason), None


def _original(task: Task, signature: Signature) -> Original:
    """Load the estimator twice: as a model that answers, and as it is. Raises Unsupported where no rows are known."""
    path = Path(task.weights)
    engine = load_engine(task.engine, path, signature=signature, threads=1, trusted=task.trusted)
    texts: trees.Texts = {}
    library = task.engine
    if task.engine == "sklearn":
        estimator: Any = unpickle.load(path, trusted=task.trusted)
        library = sklearn.library(estimator)
        estimator = sklearn.read(estimator) if library else estimator
    else:
        estimator, texts = files.booster(task.engine, path, signature)
    if library:
        trees.check(estimator, signature, texts)
    sample = Path(task.into) / examine.SAMPLE
    if sample.exists():
        rows = {tensor.name: tensor.array for tensor in tensorfile.read(sample)}
        answers = [tensor.array for tensor in tensorfile.read(sample.with_name(examine.PREDICTIONS))]
    else:
        rows, answers = _made(estimator, engine, texts), []
    known = Known(bounds.thresholds(estimator), bounds.has_trees(estimator))
    golden = {tensor.name: tensor.array for tensor in tensorfile.read(sample.with_name(examine.GOLDEN_IN))}
    tolerance = CLOSE if task.tolerance == Tolerance() else task.tolerance
    return Original(estimator, library, texts, engine, rows, known, tolerance, answers, golden)


def _made(estimator: Any, engine: Engine, texts: trees.Texts) -> Feeds:
    """Rows around the values that the estimator was fitted on, as far as it says; those that it answers."""
    inputs = engine.signature.inputs
    single = len(inputs) == 1 and len(inputs[0].shape) == 2
    points = None
    if single or isinstance(estimator, Ensemble):
        points = bounds.points(estimator, inputs[0].shape[1] if single else len(inputs))
    if points is None:
        raise Unsupported("no sample, and the model's own data does not bound its inputs: give --sample")
    made = bounds.rows(points, ROWS)
    rows = {inputs[0].name: made} if single else {spec.name: made[:, at] for at, spec in enumerate(inputs)}
    with np.errstate(over="ignore"):
        rows = {spec.name: rows[spec.name].astype(NUMPY[spec.datatype], copy=False) for spec in inputs}
    for place, known in texts.items():
        words = np.array([text.encode() for text in known], object)
        rows[inputs[place].name] = words[np.abs(made[:, place]).astype(int) % len(words)]
    if lost := {row for row, _ in domain.refusals(engine.predict, rows)}:
        rows = repeat(rows, np.array([row for row in range(ROWS) if row not in lost], dtype=int))
    if rows_of(rows) < 2:
        raise Unsupported("no sample, and the model refuses rows made from its own data: give --sample")
    return rows


def _with_domains(original: Original, signature: Signature) -> Signature:
    """The signature with what the original refuses, found out on a row that it answers."""
    row = repeat(original.rows, np.zeros(1, dtype=int))
    inputs: list[TensorSpec] = []
    for place, spec in enumerate(signature.inputs):
        texts = original.rows[spec.name] if spec.datatype == "BYTES" else np.array([], dtype=object)
        own = original.texts.get(place, ()) if original.form else bounds.texts(original.estimator)
        categories = [*dict.fromkeys(text.decode() for text in texts.reshape(-1)), *own]
        try:
            found = domain.domain_of(original.engine.predict, row, spec, categories)
        except Unsupported as error:
            raise Unsupported(f"column '{spec.name}': {error.message}") from None
        inputs.append(msgspec.structs.replace(spec, domain=found))
    return msgspec.structs.replace(signature, inputs=tuple(inputs))


def _converted(task: Task, original: Original, signature: Signature, precision: Precision) -> Outcome:
    """Convert and compare. Raises Differs, and what the converter raises."""
    path, form = Path(task.into) / MODEL, original.form
    data = trees.model(form, signature, original.texts) if form else to_onnx(original.estimator, signature, precision)
    with storage(path.parent):
        path.write_bytes(data)
    converted = load_engine("onnx", path, signature=signature, threads=1)
    try:
        found = _compared(original, converted, lowered=False)
        past = ""
    except Overflows:
        converted.close()
        signature = lower(signature)
        converted = load_engine("onnx", path, signature=signature, threads=1)
        found = _compared(original, converted, lowered=True)
        past = f"; numbers beyond ±{OVERFLOW:g} are refused, where the original's sums overflow"
    why = ""
    if form:
        precision = form.summed
        why = f"onnxruntime answers a row of its trees sooner than {original.library} does, and "
    reason = (
        f"{why}the ONNX model agrees with the original on {found.rows} rows in {found.sets} sets of probes, "
        f"calculating in {precision} (largest difference {found.largest:.2g}){past}"
    )
    return Conversion(source=task.engine, converted=True, reason=reason, max_abs_diff=found.largest), signature


def _compared(original: Original, converted: Engine, *, lowered: bool) -> Agreement:
    comparison = Comparison(
        original.engine, converted, original.known, original.rows, original.tolerance, lowered=lowered
    )
    comparison.check("golden examples", original.golden)
    comparison.check("the sample", original.rows, original.answers or None)
    if converted.signature.batched:
        few = repeat(original.rows, np.arange(min(ALONE, rows_of(original.rows))))
        comparison.check_alone(few, predict(original.engine, few))

    answer = partial(predict, original.engine)
    for name, feeds in probes(original.rows, converted.signature.inputs, original.known, answer):
        comparison.check(name, feeds)
    return comparison.agreement


def lower(signature: Signature) -> Signature:
    """The signature whose domains end at OVERFLOW, if not before."""
    inputs: list[TensorSpec] = []
    for spec in signature.inputs:
        if spec.datatype == "FP64":
            bounds_ = spec.domain or Domain()
            limits = tuple(OVERFLOW if limit is None else min(limit, OVERFLOW) for limit in bounds_.limits)
            spec = msgspec.structs.replace(spec, domain=msgspec.structs.replace(bounds_, limits=limits))
        inputs.append(spec)
    return msgspec.structs.replace(signature, inputs=tuple(inputs))
