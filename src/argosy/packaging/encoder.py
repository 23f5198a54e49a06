"""Folders with an encoder: found by their content, reduced to the files that answer, and made ready for the engine.

Taken are folders of sentence-transformers and plain Hugging Face folders of the BERT family with `tokenizer.json`, and
models that classify with one label, which are rerankers. Pooling, normalisation, the longest input and the prompt are
those that the folder says.
"""

import re
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from argosy.engines import onnx_file
from argosy.engines.encoder_graph import ELSE, FAMILIES, MODEL, EncoderConfig, build
from argosy.engines.safetensors import INDEX, WEIGHTS, inspect_folder
from argosy.spec.errors import BadPackage
from argosy.spec.language import LanguageModel
from argosy.spec.strict import parse

CONFIG, MODULES, TOKENIZER = "config.json", "modules.json", "tokenizer.json"
SENTENCE, EXTRA, TOKENIZER_CONFIG = (
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
)
GRAPHS = ("onnx/model.onnx", MODEL)
_APPLIED = ("Transformer", "Pooling", "Normalize")
_ANY = 2**40
"""What `tokenizer_config.json` says, in effect, of a tokenizer that takes any length."""
Json = dict[str, Any]
T = TypeVar("T")


class Unprepared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder as a job: its copy, and where the graph goes."""

    weights: str
    into: str


class Prepared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the engine needs to be told, and what `model.yaml` says. `made`: whether there is a graph to be added."""

    settings: dict[str, str | int | float | bool]
    language: LanguageModel
    made: bool


def recognise(folder: Path) -> bool:
    """Whether a folder has an encoder, or a model of the BERT family that gives no texts."""
    if not (folder / CONFIG).is_file():
        return False
    if (folder / MODULES).is_file():
        return True
    try:
        config = _config(folder)
    except BadPackage:
        return False
    kinds = ("Model", "ForMaskedLM", "ForPreTraining")
    name = config.architectures[0] if config.architectures else "Model"
    return config.kind in FAMILIES and (name.endswith(kinds) or _reranks(config))


def files(folder: Path) -> list[str]:
    """The paths inside the folder of what is copied. Raises BadPackage where something lacks."""
    if not (folder / TOKENIZER).is_file():
        raise BadPackage(
            f"{folder.name} is an encoder without {TOKENIZER}; write it where transformers is installed:  python -c "
            f"\"from transformers import AutoTokenizer as T; T.from_pretrained('{folder.name}').save_pretrained("
            f"'{folder.name}')\""
        )
    inside = [CONFIG, MODULES, TOKENIZER, SENTENCE, EXTRA, TOKENIZER_CONFIG]
    inside += [f"{part}/config.json" for part in _parts(folder).values() if part]
    if any((folder / name).is_file() for name in (WEIGHTS, INDEX)) and _config(folder).kind in FAMILIES:
        named = {stored.file.name for stored in inspect_folder(folder).values()}
        return [name for name in (*inside, INDEX, *sorted(named)) if (folder / name).is_file()]
    graph = next((name for name in GRAPHS if (folder / name).is_file()), None)
    if graph is None:
        kind = _config(folder).kind
        raise BadPackage(
            f"{folder.name} is an encoder of the kind '{kind[:60]}' and has no weights that Argosy reads, which are "
            f"{WEIGHTS} of {', '.join(FAMILIES)}: {ELSE}"
        )
    beside = [f"{graph.rpartition('/')[0]}/{name}".lstrip("/") for name in onnx_file.inspect(folder / graph).files]
    return [name for name in (*inside, graph, *beside) if (folder / name).is_file()]


def prepare(job: Unprepared) -> Prepared:
    """Make the graph of a copied folder that has none, and read what else it says. Raises BadPackage, MissingExtra."""
    folder = Path(job.weights)
    config, parts = _config(folder), _parts(folder)
    rerank = _reranks(config)
    graph = next((name for name in GRAPHS if (folder / name).is_file()), None)
    weights, parameters, datatype = 0, 0, "F32"
    if graph is None:
        stored = build(folder, config, Path(job.into) / MODEL, rerank)
        kept = [each for name, each in stored.items() if not name.endswith("position_ids")]
        weights = sum(each.end - each.start for each in kept)
        parameters = sum(_count(each.shape) for each in kept)
        datatype = max((each.datatype for each in kept), key=[each.datatype for each in kept].count)
    else:
        weights = sum(path.stat().st_size for path in (folder / graph).parent.iterdir() if path.is_file())
    most = _longest(folder, config)
    extra = _json(folder / EXTRA)
    settings: dict[str, str | int | float | bool] = {
        "max_tokens": most,
        "lowercase": _json(folder / SENTENCE).get("do_lower_case") is True,
        "graph": graph or MODEL,
    }
    if rerank:
        settings["activation"] = "identity" if "Identity" in _activation(folder) else "sigmoid"
    else:
        pooling = _json(folder / parts["Pooling"] / CONFIG) if "Pooling" in parts else {}
        prompts, default = _inside(extra, "prompts"), extra.get("default_prompt_name")
        settings |= {
            "pooling": _pooling(pooling),
            "normalize": "Normalize" in parts,
            "prompt": prompts.get(default, "") if default else "",
        }
        if settings["prompt"] and pooling.get("include_prompt") is False:
            raise BadPackage(f"{folder.name} leaves its prompt out of the pooling, which Argosy does not do")
    language = LanguageModel(
        kind="reranker" if rerank else "encoder",
        architecture=config.kind,
        parameters=parameters,
        weights=weights,
        quantization=datatype,
        context=most,
        tokenizer=_tokenizer(folder),
        dimensions=() if rerank else _dimensions(folder, extra),
    )
    return Prepared(settings=settings, language=language, made=graph is None)


def _read(path: Path, kind: type[T]) -> T:
    wrong = f"{path.name} of the encoder cannot be read"
    try:
        return parse(path.read_bytes(), kind, wrong)
    except OSError as error:
        raise BadPackage(f"{wrong}: {error}") from None


def _json(path: Path) -> Json:
    return _read(path, Json) if path.is_file() else {}


def _inside(outer: Json, name: str) -> Json:
    found = outer.get(name)
    return cast("Json", found) if isinstance(found, dict) else {}


def _config(folder: Path) -> EncoderConfig:
    return _read(folder / CONFIG, EncoderConfig)


def _parts(folder: Path) -> dict[str, str]:
    """The modules of a sentence-transformers folder, by the last part of their type → their folders. Raises BadPackage
    for one that is not applied here."""
    if not (folder / MODULES).is_file():
        return {}
    found: dict[str, str] = {}
    for module in _read(folder / MODULES, list[Json]):
        kind, place = str(module.get("type")).rpartition(".")[2], str(module.get("path", ""))
        if kind not in _APPLIED or not re.fullmatch(r"[\w-]*", place):
            raise BadPackage(
                f"{folder.name} has a module {kind[:60]} in '{place[:60]}'; those of sentence-transformers that Argosy "
                f"applies are {', '.join(_APPLIED)}"
            )
        found[kind] = place
    return found


def _reranks(config: EncoderConfig) -> bool:
    name = config.architectures[0] if config.architectures else ""
    return name.endswith("ForSequenceClassification") and config.classes == 1


def _activation(folder: Path) -> str:
    """The function that a cross-encoder's own config names for its scores."""
    config = _json(folder / CONFIG)
    said = _inside(config, "sentence_transformers").get("activation_fn") or config.get(
        "sbert_ce_default_activation_function"
    )
    return str(said or _json(folder / EXTRA).get("activation_fn") or "")


def _pooling(config: Json) -> str:
    modes = config.get("pooling_mode") or [
        short
        for key, short in (
            ("cls_token", "cls"),
            ("max_tokens", "max"),
            ("mean_tokens", "mean"),
            ("mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
            ("weightedmean_tokens", "weightedmean"),
            ("lasttoken", "lasttoken"),
        )
        if config.get(f"pooling_mode_{key}") is True
    ]
    return modes if isinstance(modes, str) else "+".join(modes) or "mean"


def _longest(folder: Path, config: EncoderConfig) -> int:
    """Tokens of the longest text, which the positions of the model bound."""
    known = config.max_position_embeddings - config.offset
    for value in (
        _json(folder / SENTENCE).get("max_seq_length"),
        _json(folder / TOKENIZER_CONFIG).get("model_max_length"),
    ):
        if isinstance(value, int | float) and 0 < value < _ANY:
            return min(int(value), known)
    return known


def _tokenizer(folder: Path) -> str:
    return str(_inside(_json(folder / TOKENIZER), "model").get("type", ""))


def _dimensions(folder: Path, extra: Json) -> tuple[int, ...]:
    """The lengths that an embedding may be cut to, where the model was trained for it; 0 stands for any."""
    config = _json(folder / CONFIG)
    named = config.get("matryoshka_dimensions") or extra.get("matryoshka_dimensions")
    if named:
        return tuple(sorted(int(each) for each in named))
    return (0,) if config.get("is_matryoshka") is True else ()


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for axis in shape:
        total *= axis
    return total
