"""`NAME_test.c`: the golden examples of the package as vectors, and a program that ends with 0 if all are answered."""

import msgspec
import numpy as np

from argosy.embedded.code import Code, Port, array, number
from argosy.engines.trees.files import text_of
from argosy.packaging.golden import difference
from argosy.packaging.package import Package
from argosy.spec.errors import GoldenMismatch, Unsupported
from argosy.spec.package import Tolerance
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import NUMPY, Array


class Vectors(msgspec.Struct, frozen=True, kw_only=True):
    """Rows for each input port and what each output port has to give for them: [rows, size], float32 or int32."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    tolerance: Tolerance

    def rows(self, picked: Array) -> "Vectors":
        """Those rows alone."""
        given, found = (tuple(each[picked] for each in side) for side in (self.inputs, self.outputs))
        return Vectors(inputs=given, outputs=found, tolerance=self.tolerance)


def vectors(package: Package, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Vectors:
    """The golden examples as the function takes and gives them. Raises Unsupported for what it cannot take."""
    given = {tensor.name: tensor.array for tensor in package.golden_inputs()}
    found = {tensor.name: tensor.array for tensor in package.golden_outputs()}
    return Vectors(
        inputs=tuple(_flat(port, given) for port in inputs),
        outputs=tuple(_flat(port, found) for port in outputs),
        tolerance=package.manifest.tolerance,
    )


def _flat(port: Port, tensors: dict[str, Array]) -> Array:
    """[rows, size] of what a port stands for."""
    parts: list[Array] = []
    for place, name in enumerate(port.tensors):
        if name not in tensors:
            raise Unsupported(f"the golden examples have no '{name}'")
        values = tensors[name]
        if known := port.codes.get(place):
            values = _coded(name, values, known)
        elif port.labels:
            values = _coded(name, values, port.labels)
        parts.append(values.reshape(len(values), -1))
    kind = np.int32 if port.kind == "int32_t" else np.float32
    with np.errstate(over="ignore"):
        joined = np.concatenate(parts, axis=1).astype(kind)
    if joined.shape[1] != port.size:
        raise Unsupported(f"'{port.tensor}' has {joined.shape[1]} values in a row where {port.size} were expected")
    return joined


def _coded(name: str, values: Array, known: tuple[str, ...]) -> Array:
    """Categories or labels as their numbers; a category that is not known, as a missing one is, is NaN."""
    number = {text: at for at, text in enumerate(known)}
    texts = [text_of(value) for value in values.ravel().tolist()]
    return np.array([number.get(text, np.nan) for text in texts], np.float64)


def check(ports: tuple[Port, ...], wanted: Vectors, got: tuple[Array, ...], what: str) -> float:
    """The largest difference. Raises GoldenMismatch, which names the output and the row."""
    largest = 0.0
    for port, want, array_ in zip(ports, wanted.outputs, got, strict=True):
        spec = TensorSpec(
            name=port.tensor, datatype="INT32" if port.kind == "int32_t" else "FP32", shape=(-1, port.size)
        )
        bad, gap = difference(want, array_.astype(NUMPY[spec.datatype]), spec.datatype, wanted.tolerance)
        if bad.any():
            row, place = np.argwhere(bad)[0]
            raise GoldenMismatch(
                f"{what} does not answer golden example {row} as the package does: output '{port.tensor}' [{place}] is "
                f"{array_[row, place]} where {want[row, place]} is right; nothing was written"
            )
        largest = max(largest, gap)
    return largest


def source(code: Code, given: Vectors) -> str:
    """`NAME_test.c`. No stdio: the exit status is 0, or 1 + the first row that fails."""
    name, rows = code.name, len(given.inputs[0])
    tables: list[str] = []
    for port, values in zip((*code.inputs, *code.outputs), (*given.inputs, *given.outputs), strict=True):
        whole = port.kind == "int32_t"
        texts = [str(int(each)) if whole else number(float(each)) for each in values.ravel()]
        tables.append(array(port.kind, f"golden_{port.name}", texts))
    calls = [f"golden_{port.name} + row * {port.size}" for port in code.inputs] + [port.name for port in code.outputs]
    checks = "\n".join(
        f"    for (i = 0; i < {port.size}; i++)\n      if (!{'same' if port.kind == 'int32_t' else 'close'}"
        f"({port.name}[i], golden_{port.name}[row * {port.size} + i]))\n        return row + 1;"
        for port in code.outputs
    )
    held = "\n".join(f"  static {port.kind} {port.name}[{port.size}];" for port in code.outputs)
    bound, share = number(given.tolerance.atol), number(given.tolerance.rtol)
    close = f"""\
static int close(float got, float want)
{{
  float gap = got > want ? got - want : want - got, size = want < 0 ? -want : want;
  return got == want || (got != got && want != want) || gap <= {bound} + {share} * size;
}}
"""
    same = "static int same(int32_t got, int32_t want)\n{\n  return got == want;\n}\n"
    kinds = {port.kind for port in code.outputs}
    helpers = (
        (close if "float" in kinds else "") + ("\n" if len(kinds) > 1 else "") + (same if "int32_t" in kinds else "")
    )
    return f"""\
/* The golden examples of {code.model}: ends with 0, or with 1 + the first row that is not answered as it has to be. */
#include "{name}.h"

{"".join(f"{table}{chr(10)}" for table in tables)}
{helpers}
int {name}_selftest(void)
{{
{held}
  int row, i;
  for (row = 0; row < {rows}; row++) {{
    if ({name}_predict({", ".join(calls)}))
      return row + 1;
{checks}
  }}
  return 0;
}}

int main(void)
{{
  return {name}_selftest();
}}
"""
