"""A package whose weights are trees → its C."""

import msgspec
import numpy as np

from argosy.embedded import selftest
from argosy.embedded import trees as generator
from argosy.embedded.code import Code, Port, as_identifier
from argosy.embedded.selftest import Vectors, vectors
from argosy.engines.trees import files
from argosy.engines.trees.files import Texts, text_of
from argosy.engines.trees.form import Ensemble, evaluate, leaves
from argosy.packaging.package import Package
from argosy.spec.errors import BadPackage, Unsupported
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

LARGEST = float(np.finfo(np.float32).max)


def trees(package: Package, name: str, model: str) -> tuple[Code, Vectors, float] | None:
    """The C of a package of trees, checked on its golden examples; None for another package."""
    found = read(package)
    if found is None:
        return None
    form, texts = found
    signature = package.manifest.signature
    inputs = (input_port(signature, form.width, texts),)
    outputs = output_ports(signature, form)
    form = bounded(form, signature)
    found = generator.code(form, name, model, inputs, outputs)
    checked, moved = steady(form, package, vectors(package, inputs, outputs))
    answers = answered(form, checked.inputs[0], outputs)
    largest = selftest.check(outputs, checked, answers, f"the C of {model}")
    if moved:
        note = (
            f"{moved} golden examples are not in the self-test: as float32 they lie on the other side of a threshold."
        )
        found = msgspec.structs.replace(found, notes=(*found.notes, note))
    return found, checked, largest


def read(package: Package) -> tuple[Ensemble, Texts] | None:
    """The ensemble of a package, and the texts of its categories by feature; None where its weights are no trees.
    Raises Unsupported for trees that have no form."""
    return files.read(package.manifest.engine, package.weights, package.manifest.signature, trusted=package.trusted)


def input_port(signature: Signature, width: int, texts: Texts) -> Port:
    """All features of a row, in their order."""
    specs = signature.inputs
    names = tuple(spec.name for spec in specs)
    elements = specs[0].columns if len(specs) == 1 else names
    return Port(name="x", tensors=names, size=width, elements=elements, codes=dict(texts))


def output_ports(signature: Signature, form: Ensemble) -> tuple[Port, ...]:
    """The outputs of the signature."""
    return tuple(_output(spec, form, place) for place, spec in enumerate(signature.outputs))


def _output(spec: TensorSpec, form: Ensemble, place: int) -> Port:
    name = as_identifier(spec.name, f"output_{place}")
    if spec.datatype not in ("FP32", "FP64"):
        labels = tuple(text_of(label) for label in form.scoring.labels)
        texts = labels if spec.datatype == "BYTES" else ()
        return Port(name=name, tensors=(spec.name,), size=1, kind="int32_t", labels=texts)
    wanted = int(np.prod(spec.shape[1:], dtype=np.int64))
    if wanted != form.scores:
        raise Unsupported(f"output '{spec.name}' has {wanted} values in a row; its trees give {form.scores}")
    return Port(name=name, tensors=(spec.name,), size=form.scores, elements=spec.classes)


def bounded(form: Ensemble, signature: Signature) -> Ensemble:
    """The form with what the signature says that the model refuses."""
    specs = signature.inputs
    gaps, limits = list(form.gaps), [np.inf] * form.width
    for place in range(form.width):
        spec, at = (specs[0], place) if len(specs) == 1 else (specs[place], 0)
        if spec.domain is None:
            continue
        if not spec.domain.gaps[min(at, len(spec.domain.gaps) - 1)]:
            gaps[place] = "refused"
        limit = spec.domain.limits[min(at, len(spec.domain.limits) - 1)]
        limits[place] = np.inf if limit is None else min(limit, LARGEST)
    return msgspec.structs.replace(form, gaps=tuple(gaps), limits=tuple(limits))


def answered(form: Ensemble, rows: Array, outputs: tuple[Port, ...]) -> tuple[Array, ...]:
    """What the form answers, as the output ports give it."""
    label, scores = evaluate(form, rows)
    known = form.scoring.labels
    numbers = np.array(known)[label] if known and not isinstance(known[0], str) else label
    return tuple(
        (label if port.labels else numbers).reshape(-1, 1) if port.kind == "int32_t" else scores for port in outputs
    )


def steady(form: Ensemble, package: Package, given: Vectors) -> tuple[Vectors, int]:
    """The golden rows that come to the same leaves as float32 as they do as they were recorded; how many others there
    were. Raises BadPackage where none is left."""
    wide = [tensor.array for tensor in package.golden_inputs()]
    if form.single or any(array.dtype.kind != "f" for array in wide):
        return given, 0
    recorded = np.concatenate([array.reshape(len(array), -1) for array in wide], axis=1)
    same = (leaves(form, recorded) == leaves(form, given.inputs[0].astype(np.float64))).all(axis=1)
    if not same.any():
        raise BadPackage("no golden example is answered as float32 as it is as double: push the model with --sample")
    return given.rows(same), int((~same).sum())
