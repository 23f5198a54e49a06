"""Ways to make an ONNX model smaller and faster, as jobs of a child process: model and calibration rows → model."""

from collections import Counter
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from argosy.protocol import tensorfile
from argosy.spec.errors import InvalidArgument, MissingExtra
from argosy.spec.tensor import Array

HEAVY = ("Conv", "MatMul", "Gemm")
"""Operators with weights, in which the time goes. Whatever else is quantized by default loses more than it gains."""
ABSORBED = {"Relu", "Clip"}
"""Operators that an unsigned range makes superfluous: they are left out when a graph is quantized."""
CHUNK = 16
RANGED = 64
"""Calibration rows whose values decide where a range is cut."""
CUT = 1e-5
"""The share of values beyond each end of a range that is cut off: one large value must not take all steps."""
DIRECT = {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}
"""Their kernels give floats at no cost."""
UNADJUSTED = {"QDQDisableWeightAdjustForInt32Bias": True, "QuantizeBias": False}
"""For models at which onnxruntime's adjustment of biases raises ValueError."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which recipe, on which model, with which rows (a tensor file, by the names in the model); the folder for it. With
    `scales`, the model whose scales are taken."""

    recipe: str
    weights: str
    rows: str
    into: str
    scales: str = ""

    @property
    def made(self) -> Path:
        """The model that comes of it."""
        return Path(self.into) / f"{self.recipe}.onnx"


def attempt(job: Attempt) -> int:
    """Make the model of one recipe. Returns its bytes. Raises InvalidArgument where the recipe has nothing to do there,
    MissingExtra without onnx."""
    if find_spec("onnx") is None:
        raise MissingExtra.named("onnx", "Optimizing a model")
    base = Path(job.into) / "base.onnx"
    if not base.exists():
        _optimized(Path(job.weights), base, "ORT_ENABLE_BASIC")
        _named(base)
    RECIPES[job.recipe](job, base)
    return job.made.stat().st_size


def _optimized(source: Path, into: Path, level: str) -> None:
    import onnxruntime

    ort = cast("Any", onnxruntime)
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(into)
    options.log_severity_level = 4
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _load(path: Path | str) -> Any:
    import onnx

    return cast("Any", onnx).load(str(path))


def _save(model: Any, path: Path) -> None:
    import onnx

    cast("Any", onnx).save(model, str(path))


def _named(path: Path) -> None:
    """Give each node a name, by which it can be left out, and the operator set that scales per channel need."""
    from onnx import version_converter

    model = _load(path)
    if next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 13) < 13:
        model = cast("Any", version_converter).convert_version(model, 13)
    for at, node in enumerate(model.graph.node):
        node.name = node.name or f"argosy_{node.op_type}_{at}"
    _save(model, path)


def _mixed(job: Attempt, base: Path) -> None:
    """Leave out the quarter of the layers that lose most, by the ratio of signal to noise of what is quantized."""
    nodes = _weighty(base)[0]
    if len(nodes) < 2:
        raise InvalidArgument("there is one layer to quantize, and none to leave out")
    ratios = _heavy(job, base, cut=True)
    worst = sorted(nodes, key=lambda name: min((ratios.get(each, np.inf) for each in nodes[name]), default=np.inf))
    _heavy(job, base, cut=True, nodes_to_exclude=worst[: max(1, len(worst) // 4)])


def _dynamic(job: Attempt, base: Path) -> None:
    from onnxruntime import quantization

    cast("Any", quantization).quantize_dynamic(str(base), str(job.made))


def _float16(job: Attempt, base: Path) -> None:
    from onnxruntime.transformers import float16

    _save(cast("Any", float16).convert_float_to_float16(_load(base), keep_io_types=True), job.made)


def _frozen(job: Attempt, base: Path) -> None:
    """The graph and the scales of `scales`, with the weights of this model."""
    from onnx import numpy_helper

    numpy = cast("Any", numpy_helper)
    model, fresh = _load(job.scales), _load(base)
    before, after = _operators(model), _operators(fresh)
    if odd := ", ".join(sorted({*(before - after), *(after - before)} - ABSORBED)[:5]):
        raise InvalidArgument(f"its graph is not that of the version whose scales it should take: they differ in {odd}")
    known = {each.name: numpy.to_array(each) for each in fresh.graph.initializer}
    own = {each.name: each for each in model.graph.initializer}
    count = 0
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in own:
            continue
        name = node.input[0]
        if (weights := known.get(name.removesuffix("_quantized"))) is None:
            raise InvalidArgument(f"it has no weights named {name.removesuffix('_quantized')}")
        if weights.shape != tuple(own[name].dims):
            raise InvalidArgument(f"the shape of {name.removesuffix('_quantized')} has changed, and with it its scales")
        old, scale = numpy.to_array(own[name]), numpy.to_array(own[node.input[1]])
        zero = numpy.to_array(own[node.input[2]]) if len(node.input) > 2 else np.zeros((), "i1")
        axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
        if scale.ndim and scale.size > 1:
            shape = [-1 if at == axis % weights.ndim else 1 for at in range(weights.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        limits = np.iinfo(old.dtype)
        least = -limits.max if limits.min else 0
        steps = np.clip(np.rint(weights / scale) + zero, least, limits.max).astype(old.dtype)
        own[name].CopyFrom(numpy.from_array(steps, name))
        count += 1
    if not count:
        raise InvalidArgument("the version whose scales it should take has none: it was not made by an int8 recipe")
    for name in own.keys() & known.keys():
        own[name].CopyFrom(numpy.from_array(known[name], name))
    _save(model, job.made)


def _operators(model: Any) -> Counter[str]:
    quantizing = ("QuantizeLinear", "DequantizeLinear")
    return Counter(str(each.op_type) for each in model.graph.node if each.op_type not in quantizing)


def _weighty(base: Path) -> tuple[dict[str, list[str]], set[str]]:
    """Nodes with weights → the tensors they take and give; and their operators. Raises InvalidArgument for none."""
    graph: Any = _load(base).graph
    fixed = {each.name for each in graph.initializer}
    found = {
        str(node.name): [*node.input[:1], *node.output]
        for node in graph.node
        if node.op_type in HEAVY and node.input[1] in fixed
    }
    kinds = {str(node.op_type) for node in graph.node if node.name in found}
    if not found:
        raise InvalidArgument(f"it has no {', '.join(HEAVY)} with weights, so there is nothing to quantize")
    return found, kinds


def _heavy(job: Attempt, base: Path, *, cut: bool = False, **options: Any) -> dict[str, float]:
    kinds = list(_weighty(base)[1])
    _static(job, base, op_types_to_quantize=kinds, per_channel=True, extra_options=DIRECT, **options)
    return _clip(job, base) if cut else {}


def _static(job: Attempt, base: Path, **options: Any) -> None:
    from onnxruntime import quantization

    tools = cast("Any", quantization)
    kinds = {"activation_type": tools.QuantType.QUInt8, "weight_type": tools.QuantType.QInt8}
    more: dict[str, Any] = options.pop("extra_options", {})
    for extra in (more, more | UNADJUSTED):
        try:
            given = {**kinds, **options, "extra_options": {**extra}}
            tools.quantize_static(str(base), str(job.made), _Reader(job), **given)
            return
        except ValueError:
            if UNADJUSTED.items() <= extra.items():
                raise


class _Reader:
    """Calibration rows as onnxruntime asks for them."""

    def __init__(self, job: Attempt) -> None:
        self._chunks = iter(_chunks(job))

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._chunks, None)


def _chunks(job: Attempt, most: int | None = None) -> list[dict[str, Array]]:
    tensors = tensorfile.read(Path(job.rows))
    rows = range(0, len(tensors[0].array[:most]), CHUNK)
    return [{each.name: each.array[:most][at : at + CHUNK] for each in tensors} for at in rows]


def _clip(job: Attempt, base: Path) -> dict[str, float]:
    """Cut the range of each quantized tensor where almost nothing lies. Returns what is left of each: the ratio of
    signal to noise in decibels."""
    import onnxruntime
    from onnx import helper, numpy_helper

    numpy = cast("Any", numpy_helper)
    model, probe = _load(job.made), _load(base)
    own = {each.name: each for each in model.graph.initializer}
    scales = {
        str(node.input[0]): (node.input[1], node.input[2])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in own
    }
    given = {each.name for each in (*probe.graph.output, *probe.graph.input)}
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in scales if name not in given)
    session = cast("Any", onnxruntime).InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    fed = {each.name for each in probe.graph.input}
    ratios: dict[str, float] = {}
    for name, (scale_name, zero_name) in scales.items():
        parts = [feeds[name] if name in fed else session.run([name], feeds)[0] for feeds in _chunks(job, RANGED)]
        values = np.concatenate([each.ravel() for each in parts]).astype("f4")
        low, high = (float(each) for each in np.quantile(values, [CUT, 1 - CUT]))
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32((high - low) / 255 or 1.0)
        zero = int(np.clip(np.rint(-low / scale), 0, 255))
        own[scale_name].CopyFrom(numpy.from_array(np.array(scale), scale_name))
        own[zero_name].CopyFrom(numpy.from_array(np.array(zero, "u1"), zero_name))
        noise = values - (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
        power = float((values.astype("f8") ** 2).mean()), float((noise.astype("f8") ** 2).mean())
        ratios[name] = 10 * float(np.log10(power[0] / power[1])) if power[0] and power[1] else np.inf
    _save(model, job.made)
    return ratios


FROZEN = "int8-frozen"
RECIPES: dict[str, Callable[[Attempt, Path], object]] = {
    "graph": lambda job, _: _optimized(Path(job.weights), job.made, "ORT_ENABLE_EXTENDED"),
    "int8-default": _static,
    "int8": _heavy,
    "int8-clipped": lambda job, base: _heavy(job, base, cut=True),
    "int8-mixed": _mixed,
    "int8-dynamic": _dynamic,
    "float16": _float16,
    FROZEN: _frozen,
}
"""In the order in which they are tried; the last one where scales are to be taken, and then alone."""
