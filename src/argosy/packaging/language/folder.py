"""Folders of language models as the Hugging Face libraries write them: causal language models and LoRA adapters.

Weights are taken from safetensors files alone; files of pickles and of Python code stay where they are.
"""

import re
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from argosy.engines.safetensors import INDEX, WEIGHTS, Stored, inspect, inspect_folder
from argosy.spec.errors import BadPackage, Unsupported
from argosy.spec.language import LanguageModel
from argosy.spec.strict import document

CONFIG, ADAPTER, ADAPTER_WEIGHTS = "config.json", "adapter_config.json", "adapter_model.safetensors"
_TOKENIZER, _TEMPLATE, _TEMPLATES = "tokenizer_config.json", "chat_template.jinja", "chat_template.json"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_TAKEN = (
    *(CONFIG, ADAPTER, INDEX, _TOKENIZER, _TEMPLATE, _TEMPLATES, *_TOKENIZERS, "generation_config.json", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json", "preprocessor_config.json", "processor_config.json"),
)
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_MAX_JSON = 64 * 1024 * 1024
_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
T = TypeVar("T")


class Quantized(msgspec.Struct, frozen=True):
    """How weights were quantized, with what others than the library."""

    quant_method: str = "quantized"
    bits: int | None = None


class ModelConfig(msgspec.Struct, frozen=True):
    """What is read of `config.json`; models of several parts have that of texts inside."""

    architectures: tuple[str, ...] | None = None
    is_encoder_decoder: bool = False
    auto_map: Any = None
    text_config: "ModelConfig | None" = None
    quantization_config: Quantized | None = None
    max_position_embeddings: int | None = None
    n_positions: int | None = None
    num_hidden_layers: int | None = None
    n_layer: int = 0
    num_attention_heads: int | None = None
    n_head: int = 0
    num_key_value_heads: int | None = None
    hidden_size: int | None = None
    n_embd: int = 0
    head_dim: int | None = None
    kv_lora_rank: int | None = None
    qk_rope_head_dim: int = 0

    @property
    def architecture(self) -> str:
        """The class of a model that generates text; empty for others."""
        named = (name for name in self.architectures or () if name.endswith(_GENERATES))
        return "" if self.is_encoder_decoder else next(named, "")[:80]

    @property
    def kv_bytes(self) -> int:
        """Bytes of one token in a KV cache of 16 bits."""
        layers, heads = self.num_hidden_layers or self.n_layer, self.num_attention_heads or self.n_head
        if self.kv_lora_rank:
            return 2 * layers * (self.kv_lora_rank + self.qk_rope_head_dim)
        per_head = self.head_dim or (self.hidden_size or self.n_embd) // max(heads, 1)
        return 2 * 2 * layers * (self.num_key_value_heads or heads) * per_head


class TokenizerConfig(msgspec.Struct, frozen=True):
    """What is read of `tokenizer_config.json`, and of `chat_template.json`."""

    tokenizer_class: str | None = None
    chat_template: str | list[dict[str, str]] | None = None
    auto_map: Any = None


class AdapterConfig(msgspec.Struct, frozen=True):
    """What is read of `adapter_config.json`."""

    peft_type: str = ""
    r: int = 0
    base_model_name_or_path: str | None = None


class Folder(msgspec.Struct, frozen=True):
    """A model folder: what is known of it, the files that are taken, its chat templates, its licence."""

    facts: LanguageModel
    files: tuple[str, ...]
    templates: tuple[str, ...] = ()
    license: str = ""


def is_generator(path: Path) -> bool:
    """Whether the folder is that of a language model which generates text, by its configuration."""
    if not (path / CONFIG).is_file() or (path / "modules.json").is_file():
        return False
    try:
        return bool(_read(path, CONFIG, ModelConfig()).architecture)
    except BadPackage:
        return False


def generator(path: Path) -> Folder:
    """A folder of a causal language model. Raises BadPackage naming what is missing or damaged, Unsupported for one
    that needs code of its author."""
    config, tokenizer = _read(path, CONFIG, ModelConfig()), _read(path, _TOKENIZER, TokenizerConfig())
    if config.auto_map or tokenizer.auto_map:
        raise Unsupported(
            f"{path.name} needs Python code that its author has put beside it (auto_map in its configuration), which "
            "no engine here runs; take a model whose architecture the engine has itself"
        )
    _check_weights(path, INDEX, WEIGHTS)
    tensors = inspect_folder(path)
    if not any((path / name).is_file() for name in _TOKENIZERS):
        raise BadPackage(f"{path.name} has no tokenizer: tokenizer.json or tokenizer.model is missing")
    shards = sorted({each.file.name for each in tensors.values()})
    inner, templates, how = config.text_config or config, _templates(path, tokenizer), config.quantization_config
    packed = 32 // how.bits if how and how.bits and 0 < how.bits < 32 else 1
    counts = {name: prod(each.shape) * (packed if name.endswith("qweight") else 1) for name, each in tensors.items()}
    facts = LanguageModel(
        kind="generator",
        architecture=config.architecture,
        parameters=sum(counts.values()),
        weights=sum((path / name).stat().st_size for name in shards),
        quantization=f"{how.quant_method[:40].upper()} {how.bits or ''}{' bit' * bool(how.bits)}".strip()
        if how
        else _most(tensors),
        context=inner.max_position_embeddings or inner.n_positions or 0,
        kv_bytes=inner.kv_bytes,
        chat=bool(templates),
        tokenizer=(tokenizer.tokenizer_class or "")[:80],
    )
    return Folder(facts, _files(path, shards), templates, _license(path))


def adapter(path: Path) -> tuple[Folder, dict[str, Stored]]:
    """A folder of a LoRA adapter, and its tensors. Raises BadPackage, Unsupported for other kinds of adapters."""
    about = _read(path, ADAPTER, AdapterConfig())
    if about.peft_type != "LORA":
        raise Unsupported(f"{path.name} is an adapter of type '{about.peft_type[:80]}'; engines load LORA")
    _check_weights(path, ADAPTER_WEIGHTS)
    tensors = inspect(path / ADAPTER_WEIGHTS)
    facts = LanguageModel(
        kind="adapter",
        architecture=f"LoRA of rank {about.r}",
        parameters=sum(prod(each.shape) for each in tensors.values()),
        weights=(path / ADAPTER_WEIGHTS).stat().st_size,
        quantization=_most(tensors),
        base=(about.base_model_name_or_path or "")[:200],
    )
    return Folder(facts, _files(path, [ADAPTER_WEIGHTS]), license=_license(path)), tensors


def _read(path: Path, name: str, default: T) -> T:
    """A document of the folder; `default` where there is none. Raises BadPackage."""
    file = path / name
    return document(file, type(default), f"{path.name}/{name}", _MAX_JSON) if file.is_file() else default


def _check_weights(path: Path, *names: str) -> None:
    if any((path / name).is_file() for name in names):
        return
    if pickled := [each.name for each in sorted(path.iterdir()) if each.suffix in _PICKLES]:
        raise BadPackage(
            f"{path.name} has its weights as pickles ({', '.join(pickled[:3])}), which are not taken, since to load "
            "them is to run code; save it again with  model.save_pretrained(FOLDER)  in transformers, which writes "
            "safetensors"
        )
    raise BadPackage(f"{path.name} has no weights: {names[-1]} is missing")


def _files(path: Path, shards: list[str]) -> tuple[str, ...]:
    """What is taken of the folder. Links are followed within the repository of a Hugging Face cache alone."""
    names = sorted({*shards, *(name for name in _TAKEN if (path / name).exists())})
    cache = path.resolve().parent.parent if path.resolve().parent.name == "snapshots" else path.resolve()
    for name in names:
        if not (path / name).resolve().is_relative_to(cache) or not (path / name).is_file():
            raise BadPackage(f"{path.name}/{name} is a link that leads out of the folder, or no file")
    return tuple(names)


def _templates(path: Path, tokenizer: TokenizerConfig) -> tuple[str, ...]:
    """Chat templates, from wherever the libraries look for them."""
    file, found = path / _TEMPLATE, list[str]()
    if file.is_file() and file.stat().st_size <= _MAX_JSON:
        found.append(file.read_text("utf-8", errors="replace"))
    for about in (tokenizer, _read(path, _TEMPLATES, TokenizerConfig())):
        said = about.chat_template or []
        found += [said] if isinstance(said, str) else [each.get("template", "") for each in said]
    return tuple(dict.fromkeys(filter(None, found)))


def _license(path: Path) -> str:
    """What the model card says."""
    card = path / "README.md"
    if not card.is_file():
        return ""
    with card.open("rb") as file:
        head = file.read(64 * 1024).decode(errors="replace")
    match = re.match(r"---\n(?:.*\n)*?license:[ \t]*([\w.+-]{1,60})[ \t]*\n", head.partition("\n---")[0] + "\n")
    return match[1] if match else ""


def _most(tensors: dict[str, Stored]) -> str:
    """The datatype of most numbers."""
    counts = dict[str, int]()
    for each in tensors.values():
        counts[each.datatype] = counts.get(each.datatype, 0) + prod(each.shape)
    return max(counts, key=counts.__getitem__, default="")
