"""A package in this process: loaded within few threads and little memory, held to its signature and golden examples."""

import ctypes
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported

import onnxruntime

from argosy_edge import tensors
from argosy_edge.errors import (
    AgentError,
    BadPackage,
    GoldenMismatch,
    Internal,
    InvalidArgument,
    OverBudget,
    Unsupported,
)
from argosy_edge.signature import Manifest, Port, Tolerance, fitted, manifest_of
from argosy_edge.tensors import NUMPY, Array, Arrays
from argosy_edge.wire import Budget

ort: Any = onnxruntime
REFUSED: type[Exception] = ort.capi.onnxruntime_pybind11_state.InvalidArgument
INPUTS, OUTPUTS = "golden/inputs.oip", "golden/outputs.oip"
ALONE = Tolerance(atol=1e-3, rtol=1e-2)
"""How close a row alone must be to the same row in a batch: kernels differ, and some networks amplify that."""
TIMED = 5
"""Times that each golden example is asked for its latency; the shortest counts, since others may run beside it."""
_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
    **{f"tensor({name.lower()})": name for name in NUMPY if "INT" in name},
}


class SelfTest(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the golden examples: how many rows, the largest difference, the median of a row's milliseconds, and
    resident bytes beyond those without the model."""

    rows: int
    difference: float
    milliseconds: float
    memory: int


class EdgeModel:
    """A loaded package. `answer` may be called from several threads."""

    def __init__(self, folder: Path, manifest: Manifest, version: str, session: Any, resident: int) -> None:
        self.folder = folder
        self.name = manifest.name
        self.version = version
        self.signature = manifest.signature
        self.tolerance = manifest.tolerance
        self._session = session
        self._resident = resident
        self._ordinary = 0
        self._shrinking = ort.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._names = {port.name: port.own for port in self.signature.inputs}
        self._texts = [port.name for port in self.signature.inputs if port.datatype == "BYTES"]

    def answer(self, inputs: Mapping[str, Array], outputs: tuple[str, ...] = ()) -> Arrays:
        """The outputs of these names, all where there is no name. Raises InvalidArgument for what does not fit the
        signature, or what the model refuses, Internal where the model fails."""
        chosen = self.signature.chosen(outputs)
        rows = self.signature.check(inputs)
        feeds = {self._names[name]: array for name, array in inputs.items()}
        for name in self._texts:
            feeds[self._names[name]] = _decoded(name, inputs[name])
        large = sum(array.size for array in inputs.values()) > self._ordinary
        try:
            found = self._session.run([port.own for port in chosen], feeds, self._shrinking if large else None)
        except REFUSED as error:
            raise InvalidArgument(f"the model refused the input: {_said(error)}") from None
        except Exception as error:
            raise Internal(f"onnxruntime failed: {_said(error)}") from None
        named = {port.name: _given(port, array) for port, array in zip(chosen, found, strict=True)}
        if self.signature.batched and any(array.shape[:1] != (rows,) for array in named.values()):
            raise Internal(f"the model gave another number of rows than the {rows} of its input")
        return named

    def predict(self, x: Any, outputs: tuple[str, ...] = ()) -> Arrays:
        """`answer` for what a caller in this process has: a dict of arrays by input, one array for the one input, or
        rows as dicts by column. Texts come back as `str`."""
        found = self.answer(fitted(self.signature, x), outputs)
        return {name: array if array.dtype != object else _decoded(name, array) for name, array in found.items()}

    def golden(self) -> tuple[Arrays, Arrays]:
        """The inputs and outputs of its golden examples. Raises BadPackage."""
        inputs, outputs = (tensors.read(self.folder / name) for name in (INPUTS, OUTPUTS))
        wanted = [(port.name, port.datatype) for port in self.signature.outputs]
        if wanted != [(name, datatype) for name, (datatype, _) in outputs.items()][: len(wanted)]:
            raise BadPackage(f"{OUTPUTS} of {self.name} does not hold the outputs of its signature")
        return {name: array for name, (_, array) in inputs.items()}, {port: outputs[port][1] for port, _ in wanted}

    def selftest(self, budget: Budget = Budget(), *, whole: bool = True) -> SelfTest:  # noqa: B008
        """Ask the golden examples: each row alone, for its latency, then (`whole`) all of them together. As on the
        platform, the first row alone is held to less than all of them. Raises GoldenMismatch, BadPackage, OverBudget.
        """
        inputs, outputs = self.golden()
        batched = self.signature.batched
        rows = len(next(iter(inputs.values()))) if batched else 1
        seconds: list[float] = []
        difference = 0.0
        for row in range(rows):
            one = {name: array[row : row + 1] for name, array in inputs.items()} if batched else inputs
            self._ordinary = max(self._ordinary, sum(array.size for array in one.values()))
            tries = [self._timed(one) for _ in range(TIMED)]
            seconds.append(min(took for _, took in tries))
            if row == 0:
                want = {name: array[:1] for name, array in outputs.items()} if batched else outputs
                tolerance = self.tolerance if rows == 1 else _looser(self.tolerance)
                difference = self._compared(want, tries[0][0], tolerance, "the first golden example alone")
        memory = max(0, resident() - self._resident)
        if whole and batched and rows > 1:
            got, _ = self._timed(inputs)
            difference = self._compared(outputs, got, self.tolerance, "golden examples")
        self._give_back({name: array[:1] for name, array in inputs.items()} if batched else inputs)
        found = SelfTest(rows=rows, difference=difference, milliseconds=float(np.median(seconds)) * 1e3, memory=memory)
        if budget.milliseconds and found.milliseconds > budget.milliseconds:
            raise OverBudget(
                f"{self.name} takes {found.milliseconds:.1f} ms for a golden example; it may take "
                f"{budget.milliseconds:g} ms"
            )
        if budget.memory and found.memory > budget.memory:
            raise OverBudget(f"{self.name} takes {found.memory} bytes of memory; it may take {budget.memory}")
        return found

    def _give_back(self, inputs: Arrays) -> None:
        """Let go of the memory that requests have left in the arena."""
        ordinary, self._ordinary = self._ordinary, 0
        self._timed(inputs)
        self._ordinary = ordinary
        trim()

    def _timed(self, inputs: Arrays) -> tuple[Arrays, float]:
        started = time.perf_counter()
        try:
            return self.answer(inputs), time.perf_counter() - started
        except AgentError as error:
            raise BadPackage(f"{self.name} does not answer its golden examples: {error.message}") from None

    def _compared(self, want: Arrays, got: Arrays, tolerance: Tolerance, what: str) -> float:
        """The largest difference. Raises GoldenMismatch for one too large."""
        largest = 0.0
        for name, array in want.items():
            if array.shape != got[name].shape:
                raise GoldenMismatch(f"{what}: output '{name}' has shape {got[name].shape}, not {array.shape}")
            bad, gap = apart(array, got[name], tolerance)
            if bad.any():
                place = tuple(int(at) for at in np.argwhere(bad)[0])
                raise GoldenMismatch(
                    f"{what}: output '{name}', {list(place)}: want {array[place]!r:.80}, got {got[name][place]!r:.80}; "
                    f"{int(bad.sum())} of {bad.size} values differ"
                )
            largest = max(largest, gap)
        return largest


def load(folder: Path | str, manifest: Mapping[str, Any], *, version: str = "", threads: int = 1) -> EdgeModel:
    """The package in a folder, by its manifest. The golden examples are another step. Raises Unsupported for a package
    of another engine, BadPackage."""
    package = manifest_of(manifest)
    if package.engine != "onnx":
        raise Unsupported(
            f"{package.name} is a package of the engine '{package.engine[:40]}'; devices run onnx alone: push the "
            "model so that it is converted, and  argosy models show  says onnx"
        )
    place = Path(folder)
    weights = place / package.weights
    if not weights.resolve().is_relative_to(place.resolve()) or not weights.is_file():
        raise BadPackage(f"{place} has no file '{package.weights[:200]}', which its manifest names as the weights")
    before = resident()
    session = _session(weights, threads)
    _check(package, session)
    trim()
    return EdgeModel(place, package, version, session, before)


def apart(want: Array, got: Array, tolerance: Tolerance) -> tuple[Array, float]:
    """Which elements are too far apart, and the largest difference. NaN equals NaN; all but floats must be equal."""
    if want.dtype.kind != "f":
        return np.asarray(want != got, bool), 0.0
    wide, other = want.astype("f8"), got.astype("f8")
    with np.errstate(invalid="ignore"):
        gap = np.abs(other - wide)
        far = gap > tolerance.atol + tolerance.rtol * np.abs(wide)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    finite = gap[np.isfinite(gap)]
    return ~same & (far | ~np.isfinite(gap)), float(finite.max()) if finite.size else 0.0


def resident() -> int:
    """Bytes of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """Give back to the system what loading has left over, where the C library can."""
    if (give := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        give(0)


def _session(weights: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # a plan of memory for each shape
    options.log_severity_level = 4  # errors come back as exceptions
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(
            str(weights), options, providers=["CPUExecutionProvider"], enable_fallback=0, read_config_from_model=0
        )
    except Exception as error:
        raise BadPackage(f"onnxruntime {ort.__version__} cannot load {weights.name}: {_said(error)}") from None


def _check(package: Manifest, session: Any) -> None:
    """Raise BadPackage unless the model has the tensors that the signature names, of their datatypes."""
    for side, ports, values in (
        ("input", package.signature.inputs, session.get_inputs()),
        ("output", package.signature.outputs, session.get_outputs()),
    ):
        known = {value.name: _TYPES.get(value.type, value.type) for value in values}
        for port in ports:
            if known.get(port.own) != port.datatype:
                raise BadPackage(
                    f"the signature of {package.name} has the {side} '{port.own}' of {port.datatype}; the model has "
                    + ", ".join(f"'{name}' of {datatype}" for name, datatype in known.items())
                )
        if side == "input" and (missing := {*known} - {port.own for port in ports}):
            raise BadPackage(f"the signature of {package.name} lacks the input '{min(missing)}' of the model")


def _looser(tolerance: Tolerance) -> Tolerance:
    return Tolerance(max(tolerance.atol, ALONE.atol), max(tolerance.rtol, ALONE.rtol))


def _given(port: Port, array: Array) -> Array:
    if not port.accepts(array.shape):
        raise Internal(f"output '{port.name}' has shape {list(array.shape)}; the signature says {list(port.shape)}")
    if port.datatype != "BYTES":
        return array
    out = np.empty(array.shape, object)
    out.reshape(-1)[:] = [text.encode() for text in array.reshape(-1)]
    return out


def _decoded(name: str, array: Array) -> Array:
    """Texts as onnxruntime takes them, which cuts them at a zero byte. Raises InvalidArgument."""
    out = np.empty(array.shape, object)
    flat = out.reshape(-1)
    for place, value in enumerate(array.reshape(-1)):
        try:
            flat[place] = value.decode()
        except UnicodeDecodeError:
            raise InvalidArgument(f"'{name}', element {place}: not UTF-8") from None
        if b"\0" in value:
            raise InvalidArgument(f"'{name}', element {place}: a text of the model holds no zero byte")
    return out


_NOISE = re.compile(r"^\d+ : \w+ : |Load model from \S+ failed:\s*|\S+\.(cc|h):\d+:? (\w+ \S+\(.*?\) (?=[A-Z]))?")
"""Codes of onnxruntime, and places in its sources."""


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()).rpartition("[ONNXRuntimeError] : ")[2]
    return _NOISE.sub("", text)[:400] or type(error).__name__
