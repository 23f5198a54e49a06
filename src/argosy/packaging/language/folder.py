"""Folders of language models as the Hugging Face libraries write them: causal language models and LoRA adapters.

Weights are taken from safetensors files alone; files of pickles and of Python code stay where they are.
"""

import re
from math import prod
from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.engines import safetensors
from argosy.engines.safetensors import INDEX, WEIGHTS, Stored
from argosy.spec.errors import BadPackage, Unsupported
from argosy.spec.language import LanguageModel

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_TOKENIZER = "tokenizer_config.json"
_TEMPLATE = "chat_template.jinja"
_MORE = "additional_chat_templates"
_SETTINGS = (
    *(CONFIG, ADAPTER, INDEX, _TOKENIZER, _TEMPLATE, "chat_template.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
    *("vocab.txt", "tekken.json", "preprocessor_config.json", "processor_config.json", "params.json"),
)
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_MAX_JSON = 64 * 1024 * 1024
_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


class Folder(msgspec.Struct, frozen=True):
    """A model folder: what is known of it, the files that are taken, its chat templates, and its licence."""

    facts: LanguageModel
    files: tuple[str, ...]
    templates: tuple[str, ...] = ()
    license: str = ""


def is_generator(path: Path) -> bool:
    """Whether the folder is that of a language model which generates text, by its configuration."""
    if not (path / CONFIG).is_file() or (path / "modules.json").is_file():
        return False
    try:
        return bool(_architecture(_json(path, CONFIG)))
    except BadPackage:
        return False


def generator(path: Path) -> Folder:
    """A folder of a causal language model. Raises BadPackage naming what is missing or damaged, Unsupported for one
    that needs code of its author."""
    config = _json(path, CONFIG)
    inner = _inner(config)
    if "auto_map" in config or "auto_map" in _json(path, _TOKENIZER, optional=True):
        raise Unsupported(
            f"{path.name} needs Python code that its author has put beside it (auto_map in its configuration), which "
            "no engine here runs; take a model whose architecture the engine has itself"
        )
    shards = _shards(path)
    tensors = _tensors(path, shards)
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")):
        raise BadPackage(f"{path.name} has no tokenizer: tokenizer.json or tokenizer.model is missing")
    files = _files(path, shards)
    templates = _templates(path)
    facts = LanguageModel(
        kind="generator",
        architecture=_architecture(config),
        parameters=_parameters(config, tensors),
        weights=sum((path / name).stat().st_size for name in shards),
        quantization=_quantization(config, tensors),
        context=_number(inner, "max_position_embeddings", _number(inner, "n_positions")),
        kv_bytes=_kv_bytes(inner),
        chat=bool(templates),
        tokenizer=str(_json(path, _TOKENIZER, optional=True).get("tokenizer_class", ""))[:80],
    )
    return Folder(facts, files, templates, _license(path))


def adapter(path: Path) -> tuple[Folder, dict[str, Stored]]:
    """A folder of a LoRA adapter, and its tensors. Raises BadPackage, Unsupported for other kinds of adapters."""
    about = _json(path, ADAPTER)
    if about.get("peft_type") != "LORA":
        raise Unsupported(f"{path.name} is an adapter of type {about.get('peft_type')!r:.80}; engines load LORA")
    if not (path / ADAPTER_WEIGHTS).is_file():
        raise _without_weights(path, ADAPTER_WEIGHTS)
    tensors = _tensors(path, [ADAPTER_WEIGHTS])
    facts = LanguageModel(
        kind="adapter",
        architecture=f"LoRA of rank {_number(about, 'r')}",
        parameters=sum(prod(each.shape) for each in tensors.values()),
        weights=(path / ADAPTER_WEIGHTS).stat().st_size,
        quantization=_most(tensors),
        base=str(about.get("base_model_name_or_path") or "")[:200],
    )
    return Folder(facts, _files(path, [ADAPTER_WEIGHTS]), license=_license(path)), tensors


def tensors(path: Path) -> dict[str, Stored]:
    """Every tensor of a causal-LM folder by its name."""
    return _tensors(path, _shards(path))


def _json(path: Path, name: str, *, optional: bool = False) -> dict[str, Any]:
    """A document of the folder. Raises BadPackage where it is missing, too large or no object of JSON."""
    file = path / name
    if optional and not file.is_file():
        return {}
    try:
        if file.stat().st_size > _MAX_JSON:
            raise BadPackage(f"{path.name}/{name} is larger than {_MAX_JSON} bytes")
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise BadPackage(f"{path.name} lacks {name}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise BadPackage(f"{path.name}/{name} cannot be read: {error}") from None


def _inner(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the part that makes text, where there are others."""
    inner = config.get("text_config")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else config


def _architecture(config: dict[str, Any]) -> str:
    """The class of a model that generates text; empty for others."""
    listed = config.get("architectures")
    for name in cast("list[object]", listed) if isinstance(listed, list) else []:
        if isinstance(name, str) and name.endswith(_GENERATES) and not config.get("is_encoder_decoder"):
            return name[:80]
    return ""


def _number(config: dict[str, Any], key: str, default: int = 0) -> int:
    found = config.get(key)
    return found if isinstance(found, int) and found >= 0 else default


def _shards(path: Path) -> list[str]:
    """The files of weights. Raises BadPackage naming those that the index has and the folder lacks."""
    if not (path / INDEX).is_file():
        if (path / WEIGHTS).is_file():
            return [WEIGHTS]
        raise _without_weights(path, WEIGHTS)
    placed = _json(path, INDEX).get("weight_map")
    names = (
        sorted({str(each) for each in cast("dict[str, object]", placed).values()}) if isinstance(placed, dict) else []
    )
    if not names or any("/" in name or not name.endswith(".safetensors") for name in names):
        raise BadPackage(f"{path.name}/{INDEX} names no safetensors files of the folder")
    if missing := [name for name in names if not (path / name).is_file()]:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise BadPackage(
            f"{path.name} is not complete: of {len(names)} files of weights {', '.join(missing[:5])}{more} "
            f"{'are' if len(missing) > 1 else 'is'} missing"
        )
    return names


def _without_weights(path: Path, wanted: str) -> BadPackage:
    pickled = [each.name for each in sorted(path.iterdir()) if each.suffix in _PICKLES]
    if pickled:
        return BadPackage(
            f"{path.name} has its weights as pickles ({', '.join(pickled[:3])}), which are not taken, since to load "
            "them is to run code; save it again with  model.save_pretrained(FOLDER)  in transformers, which writes "
            "safetensors"
        )
    return BadPackage(f"{path.name} has no weights: {wanted} is missing")


def _tensors(path: Path, shards: list[str]) -> dict[str, Stored]:
    found = dict[str, Stored]()
    placed = _json(path, INDEX, optional=True).get("weight_map") if len(shards) > 1 else None
    for shard in shards:
        for name, tensor in safetensors.inspect(path / shard).items():
            if name in found:
                raise BadPackage(f"{path.name} has the tensor '{name[:80]}' in two files")
            found[name] = tensor
    missing = sorted(set(cast("dict[str, object]", placed)) - set(found)) if isinstance(placed, dict) else []
    if missing or not found:
        raise BadPackage(f"{path.name} is not complete: its files lack the tensor '{(missing or ['any'])[0][:80]}'")
    return found


def _files(path: Path, shards: list[str]) -> tuple[str, ...]:
    """What is taken of the folder. Links are followed within the repository of a Hugging Face cache alone."""
    more = sorted(each.relative_to(path).as_posix() for each in (path / _MORE).glob("*.jinja"))
    names = [*sorted({*shards, *(name for name in _SETTINGS if (path / name).exists())}), *more]
    cache = path.resolve().parent.parent if path.resolve().parent.name == "snapshots" else path.resolve()
    for name in names:
        if not (path / name).resolve().is_relative_to(cache) or not (path / name).is_file():
            raise BadPackage(f"{path.name}/{name} is a link that leads out of the folder, or no file")
    return tuple(names)


def _templates(path: Path) -> tuple[str, ...]:
    """Chat templates, the default one first, from wherever the libraries look for them."""
    files = [each for each in (path / _TEMPLATE, *sorted((path / _MORE).glob("*.jinja"))) if each.is_file()]
    found = [each.read_text("utf-8", errors="replace") for each in files if each.stat().st_size <= _MAX_JSON]
    for name in (_TOKENIZER, "chat_template.json"):
        said = _json(path, name, optional=True).get("chat_template")
        listed = cast("list[object]", said) if isinstance(said, list) else [said]
        for each in listed:
            text = cast("dict[str, object]", each).get("template") if isinstance(each, dict) else each
            found += [text] if isinstance(text, str) and text and text not in found else []
    return tuple(found)


def _license(path: Path) -> str:
    """What the model card says."""
    card = path / "README.md"
    if not card.is_file():
        return ""
    with card.open("rb") as file:
        head = file.read(64 * 1024).decode(errors="replace")
    match = re.match(r"---\n(?:.*\n)*?license:[ \t]*([\w.+-]{1,60})[ \t]*\n", head.partition("\n---")[0] + "\n")
    return match[1] if match else ""


def _quantization(config: dict[str, Any], tensors: dict[str, Stored]) -> str:
    about = config.get("quantization_config")
    if isinstance(about, dict):
        said = cast("dict[str, object]", about)
        method, bits = str(said.get("quant_method", "quantized"))[:40].upper(), said.get("bits")
        return f"{method} {bits} bit" if isinstance(bits, int) else method
    return _most(tensors)


def _most(tensors: dict[str, Stored]) -> str:
    """The datatype of most numbers."""
    counts = dict[str, int]()
    for each in tensors.values():
        counts[each.datatype] = counts.get(each.datatype, 0) + prod(each.shape)
    return max(counts, key=counts.__getitem__)[:20]


def _parameters(config: dict[str, Any], tensors: dict[str, Stored]) -> int:
    """Numbers of the model. Quantized ones are packed, several in an integer."""
    about = config.get("quantization_config")
    bits = _number(cast("dict[str, Any]", about), "bits", 32) if isinstance(about, dict) else 32
    packed = 32 // bits if 0 < bits < 32 else 1
    return sum(
        prod(each.shape) * (packed if name.endswith("qweight") and each.datatype == "I32" else 1)
        for name, each in tensors.items()
    )


def _kv_bytes(config: dict[str, Any]) -> int:
    """Bytes of one token in a KV cache of 16 bits."""
    layers = _number(config, "num_hidden_layers", _number(config, "n_layer"))
    heads = _number(config, "num_attention_heads", _number(config, "n_head"))
    if rank := _number(config, "kv_lora_rank"):
        return 2 * layers * (rank + _number(config, "qk_rope_head_dim"))
    width = _number(config, "hidden_size", _number(config, "n_embd"))
    per_head = _number(config, "head_dim", width // max(heads, 1))
    return 2 * 2 * layers * _number(config, "num_key_value_heads", heads) * per_head
