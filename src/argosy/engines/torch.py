"""PyTorch programs saved by `torch.export.save`, run on the CPU.

A program with parts nobody vouches for (see torch_file) is loaded only where the caller says it is trusted. The setting
`trusted_pickle` of packages of before is accepted, and trusts nothing.
"""

import contextlib
import os
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from argosy.engines import torch_file
from argosy.engines.base import Loading, Loose, check_settings, require, short
from argosy.engines.probe import settled
from argosy.spec.errors import BadPackage, Internal, InvalidArgument, Untrusted
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array, datatype_of


class TorchEngine(Loose):
    """An exported program: its tensors in, its tensors out, without gradients."""

    releases_gil = True
    parallel = True

    def __init__(self, program: Any, signature: Signature) -> None:
        self._module = program.module()
        self._structure = program.call_spec.in_spec
        self._order = [str(name) for name in program.graph_signature.user_inputs]
        self._halves = {spec.name for spec in signature.inputs if spec.datatype == "BF16"}
        self._names = output_names(program)
        self.signature = signature

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        torch = _torch("a PyTorch program")
        pytree = torch.utils._pytree
        given = [_tensor(torch, inputs[name], name in self._halves) for name in self._order]
        args, kwargs = pytree.tree_unflatten(given, self._structure)
        try:
            with torch.inference_mode():
                leaves = pytree.tree_leaves(self._module(*args, **kwargs))
        except (AssertionError, IndexError) as error:  # the program's own guards on shapes; ids out of range
            raise InvalidArgument(f"the program refused the input: {short(error)}") from None
        except Exception as error:
            raise Internal(f"the program failed: {type(error).__name__}: {short(error)}") from None
        return {name: _array(torch, leaf) for name, leaf in zip(self._names, leaves, strict=True)}


def load(given: Loading) -> TorchEngine:
    """Load a program. Its dynamic dimensions are the free axes. `threads` holds for all of torch in this process."""
    path, signature, settings, threads, _, trusted = given
    check_settings(settings, trusted_pickle=bool)
    torch = _torch(f"the PyTorch program {path.name}")
    if (found := torch_file.objections(path)) and not trusted:
        raise Untrusted(
            f"{path.name} could run code when it is loaded ({found[0]}); push it with --trust if you know it"
        )
    torch.set_num_threads(threads)
    try:
        with _weights_only(trusted):
            program = torch.export.load(str(path))
    except Exception as error:
        raise BadPackage(f"torch cannot load {path.name}: {type(error).__name__}: {short(error)}") from None
    return settled(lambda given: TorchEngine(program, given), signature, _signature(program), path.name)


@contextlib.contextmanager
def _weights_only(trusted: bool) -> Generator[None]:
    """Within, torch's own `load` unpickles tensors alone, whatever its caller asks for, unless the file is trusted."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    if not trusted:
        os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _signature(program: Any) -> Signature:
    """Inputs by the names of the program's arguments; outputs by `output_names`."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [_spec(str(name), values.get(str(name)), "input") for name in program.graph_signature.user_inputs]
    results = [values.get(str(name)) for name in program.graph_signature.user_outputs]
    outputs = [_spec(name, value, "output") for name, value in zip(output_names(program), results, strict=True)]
    batched = bool(inputs) and all(spec.shape[:1] == (-1,) for spec in (*inputs, *outputs))
    return Signature(inputs=tuple(inputs), outputs=tuple(outputs), batched=batched)


def output_names(program: Any) -> list[str]:
    """The keys of a returned dict, `output` for a single tensor, `output_0` … for a tuple."""
    structure = program.call_spec.out_spec
    count = len(program.graph_signature.user_outputs)
    if structure.type is dict and structure.num_children == count:
        return [str(key) for key in structure.context]
    return ["output"] if count == 1 else [f"output_{place}" for place in range(count)]


def _spec(name: str, value: Any, side: str) -> TensorSpec:
    torch = _torch("a PyTorch program")
    if not isinstance(value, torch.Tensor):
        raise BadPackage(f"the program's {side} '{name}' is no tensor; export it with tensors alone")
    if value.dtype == torch.bfloat16:
        datatype = "BF16"
    else:
        try:
            datatype = datatype_of(torch.empty(0, dtype=value.dtype).numpy())
        except TypeError:
            raise BadPackage(f"the program's {side} '{name}' has dtype {value.dtype}, which cannot be served") from None
    axes: list[Any] = list(value.shape)  # symbolic where dynamic
    return TensorSpec(name=name, datatype=datatype, shape=tuple(a if isinstance(a, int) else -1 for a in axes))


def _torch(need: str) -> Any:
    """The framework, untyped: types are checked where it is not installed, too. Raises MissingExtra."""
    return require("torch", "torch", need)


def _tensor(torch: Any, array: Array, half: bool) -> Any:
    """Shares the array's memory where torch can write to it without harm: it gives no read-only tensors."""
    array = array if array.flags.writeable and array.flags.c_contiguous else array.copy()
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if half else torch.from_numpy(array)


def _array(torch: Any, tensor: Any) -> Array:
    tensor = tensor.detach().contiguous()
    return tensor.view(torch.int16).numpy().view(np.uint16) if tensor.dtype == torch.bfloat16 else tensor.numpy()
