"""LoRA adapters: whether one fits the base that it is pushed for, told from names and shapes of tensors alone."""

from collections.abc import Mapping
from pathlib import Path

from argosy.engines.safetensors import inspect_folder
from argosy.packaging.language import folder, gguf
from argosy.packaging.package import Package
from argosy.spec.errors import BadPackage, InvalidArgument

_PEFT = "base_model.model."
_PARTS = ((".lora_A.weight", 1), (".lora_B.weight", 0))
_GGUF_PARTS = ((".lora_a", 0), (".lora_b", 1))
"""How names end, and the axis of the base's tensor that the same axis of the adapter's has to equal."""
Shapes = Mapping[str, tuple[int, ...]]


def check(path: Path, base: Package) -> None:
    """Raise BadPackage unless the adapter is made for a model such as `base`, InvalidArgument for a base that is none,
    or of another format."""
    about = base.manifest.language
    if about is None or about.kind != "generator":
        raise InvalidArgument(
            f"--base {base.manifest.name}: that is no language model which adapters could be added to"
        )
    of_gguf, weights = path.is_file(), base.weights
    if of_gguf != weights.is_file():
        kinds = ("GGUF", "safetensors") if of_gguf else ("safetensors", "GGUF")
        raise InvalidArgument(
            f"{path.name} is an adapter in {kinds[0]}, and {base.manifest.name} a model in {kinds[1]}, whose engine "
            f"does not load it{'' if of_gguf else ': convert it with llama.cpp (convert_lora_to_gguf.py)'}"
        )
    if of_gguf:
        header = gguf.read(path)
        architecture = header.text("general.architecture")
        if architecture != about.architecture:
            raise BadPackage(
                f"{path.name} is for models of architecture '{architecture}', and {base.manifest.name} is "
                f"'{about.architecture}'"
            )
        shapes: Shapes = gguf.read_all(gguf.shards(weights)).tensors
        _fits(path.name, base.manifest.name, header.tensors, shapes, _GGUF_PARTS)
    else:
        own = {name.removeprefix(_PEFT): each.shape for name, each in folder.adapter(path)[1].items()}
        shapes = {name.removesuffix(".weight"): each.shape for name, each in inspect_folder(weights).items()}
        _fits(path.name, base.manifest.name, own, shapes, _PARTS)


def _fits(name: str, base: str, own: Shapes, shapes: Shapes, parts: tuple[tuple[str, int], ...]) -> None:
    """Every pair of the adapter has a tensor of the base that it is added to."""
    for tensor, shape in own.items():
        for suffix, axis in parts:
            if not tensor.endswith(suffix):
                continue
            target = tensor.removesuffix(suffix)
            there = shapes.get(target)
            if there is None:
                raise BadPackage(f"{name} is not for {base}: it changes '{target[:80]}', which {base} does not have")
            if len(shape) != 2 or len(there) < 2 or shape[axis] != there[axis]:
                raise BadPackage(
                    f"{name} is not for {base}: its '{tensor[:80]}' has the shape {list(shape)}, and '{target[:80]}' "
                    f"of {base} {list(there)}"
                )
            break
