"""Encoders: texts to embeddings, and pairs of texts to scores; tokenized by `tokenizers`, executed by onnxruntime.

The folder has `tokenizer.json` and a graph: ours, which takes texts without padding (`encoder_graph`), or that of
another exporter, which takes rows of one length. Texts are sorted by their length and executed in calls of a bounded
number of tokens, so that neither padding nor one long text makes others wait.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from argosy.engines import onnx_file
from argosy.engines.base import Engine, Loading, Settings, check_settings, check_signature, require, short
from argosy.engines.encoder_graph import MODEL
from argosy.engines.frames import strings
from argosy.engines.onnx import session
from argosy.spec.errors import BadPackage, Internal, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

CALL_TOKENS = 2048
"""Tokens of one call of the network, with padding: more of them leave the caches, and cost more each."""
ROW_TOKENS = 32
"""Tokens that count as one row of a batch."""
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
SETTINGS: Mapping[str, type] = {
    "pooling": str,
    "normalize": bool,
    "max_tokens": int,
    "lowercase": bool,
    "prompt": str,
    "activation": str,
    "graph": str,
}
EXAMPLES = (
    "Argosy takes a trained model to every place it has to run.",
    "",
    "a",
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "Where is the nearest harbour?",
    "Le navire quitte le port à l'aube, chargé de blé et de vin.",
    "船は夜明けに港を出る。",
    '1 2 3 4.56e-7 (8) [9] {0} <html> & "quotes"',
    "A ship is safe in harbour, but that is not what ships are for. " * 8,
    "word " * 600,
)
"""Texts of golden examples where no sample is given: empty, of other scripts, longer than most models take."""
_OUTPUTS = (
    TensorSpec(name="tokens", datatype="INT32", shape=(-1,)),
    TensorSpec(name="truncated", datatype="BOOL", shape=(-1,)),
)
"""Those on request: how many tokens of each row were used, and whether it had more."""


class EncoderEngine(Engine):
    """A tokenizer and a network. Rows are one text, or a pair of a query and a document."""

    releases_gil = True
    parallel = True

    def __init__(self, tokenizer: Any, network: Any, settings: Settings, signature: Signature) -> None:
        self.signature = signature
        self._tokenizer, self._network = tokenizer, network
        self._names = {value.name for value in network.get_inputs()}
        self._inputs = [spec.name for spec in signature.inputs]
        self._rerank = len(self._inputs) == 2
        self._settings = settings
        self._most = int(settings["max_tokens"])

    def predict(self, inputs: Mapping[str, Array]) -> list[Array]:
        encoded = self._encode(inputs)
        lengths = np.array([len(each) for each in encoded], np.int64)
        found = np.empty((len(encoded), *self.signature.outputs[0].shape[1:]), np.float32)
        for rows in calls(lengths, CALL_TOKENS):
            found[rows] = self._call([encoded[row] for row in rows], lengths[rows])
        return [found]

    def more(self, inputs: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
        encoded = self._encode(inputs)
        tokens = np.array([len(each) for each in encoded], np.int32)
        known = {"tokens": tokens, "truncated": np.array([bool(each.overflowing) for each in encoded], bool)}
        return [known[name] for name in names]

    def weigh(self, inputs: Mapping[str, Array], rows: int) -> int:
        """See `Engine.weigh`: by tokens, of which most have four bytes or so."""
        texts = zip(*(inputs[name].tolist() for name in self._inputs), strict=True)
        tokens = sum(min(sum(map(len, row)) // 4 + 2, self._most) for row in texts)
        return max(1, -(-tokens // ROW_TOKENS))

    @property
    def examples(self) -> Mapping[str, Array]:
        texts = np.array([text.encode() for text in EXAMPLES], object)
        return {name: np.roll(texts, place) for place, name in enumerate(self._inputs)}

    def close(self) -> None:
        """Free the session and its memory arena."""
        del self._network

    def _encode(self, inputs: Mapping[str, Array]) -> list[Any]:
        texts = [strings(name, inputs[name]).tolist() for name in self._inputs]
        if self._settings["lowercase"]:
            texts = [[text.lower() for text in each] for each in texts]
        if prompt := self._settings["prompt"]:
            texts = [[f"{prompt}{text}" for text in each] for each in texts]
        return self._tokenizer.encode_batch_fast(list(zip(*texts, strict=True)) if self._rerank else texts[0])

    def _call(self, encoded: list[Any], lengths: Array) -> Array:
        """The embeddings, or scores, of a few rows."""
        longest = int(lengths.max())
        mask = np.arange(longest) < lengths[:, None]
        ids, types = (np.concatenate([getattr(each, name) for each in encoded]) for name in ("ids", "type_ids"))
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        if "unpad" in self._names:
            feeds = {
                "ids": ids,
                "types": types,
                "positions": np.arange(len(ids)) - np.repeat(starts, lengths),
                "pad": np.where(mask, starts[:, None] + np.arange(longest), 0),
                "unpad": np.flatnonzero(mask),
                "mask": mask.astype(np.int32),
                "first": starts,
            }
        else:
            padded = {name: np.zeros(mask.shape, np.int64) for name in ("input_ids", "token_type_ids")}
            padded["input_ids"][mask], padded["token_type_ids"][mask] = ids, types
            feeds = padded | {"attention_mask": mask.astype(np.int64)}
        try:
            output = self._network.run(None, {name: each for name, each in feeds.items() if name in self._names})[0]
        except Exception as error:
            raise Internal(f"onnxruntime failed: {short(error)}") from None
        if self._rerank:
            return self._score(output.reshape(len(encoded)))
        if output.ndim == 3:
            output = output[mask]
        return self._pooled(output, starts, lengths)

    def _score(self, logits: Array) -> Array:
        return 1 / (1 + np.exp(-logits)) if self._settings["activation"] == "sigmoid" else logits

    def _pooled(self, hidden: Array, starts: Array, lengths: Array) -> Array:
        """Hidden states of all tokens, text by text → one row a text."""
        parts: list[Array] = []
        for kind in str(self._settings["pooling"]).split("+"):
            if kind == "cls":
                parts.append(hidden[starts])
            elif kind == "lasttoken":
                parts.append(hidden[starts + lengths - 1])
            elif kind == "max":
                parts.append(np.maximum.reduceat(hidden, starts))
            elif kind == "weightedmean":
                weights = (np.arange(len(hidden)) - np.repeat(starts, lengths) + 1).astype(np.float32)[:, None]
                parts.append(np.add.reduceat(hidden * weights, starts) / np.add.reduceat(weights, starts))
            else:
                divisor = np.sqrt(lengths) if kind == "mean_sqrt_len_tokens" else lengths
                parts.append(np.add.reduceat(hidden, starts) / divisor[:, None])
        found = np.concatenate(parts, axis=1)
        if self._settings["normalize"]:
            found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found


def calls(lengths: Array, most: int) -> Iterator[Array]:
    """Rows that are executed together, of similar length: as many as have, padded to the longest, at most so many
    tokens; one alone may have more."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, most // max(1, int(lengths[order[start]])))
        yield order[start : start + count]
        start += count


def load(given: Loading) -> EncoderEngine:
    """Check the files of a folder, open tokenizer and network, and take or derive the signature."""
    path, signature, settings, threads, *_ = given
    known = {"pooling": "mean", "normalize": False, "max_tokens": 512, "lowercase": False, "prompt": ""}
    settings = {**known, "activation": "", "graph": MODEL, **settings}
    check_settings(settings, **SETTINGS)
    if unknown := {*str(settings["pooling"]).split("+")} - {*POOLINGS}:
        raise InvalidArgument(
            f"setting 'pooling' is '{min(unknown)}'; it can be {', '.join(POOLINGS)}, and a sum of them"
        )
    graph = path / str(settings["graph"])
    if not graph.is_file() or graph.is_symlink() or not graph.resolve().is_relative_to(path.resolve()):
        raise BadPackage(f"{path.name} has no file {settings['graph']}")
    onnx_file.inspect(graph)
    network = session(graph, threads)
    tokenizer = open_tokenizer(path / "tokenizer.json", int(settings["max_tokens"]))
    shape = network.get_outputs()[0].shape
    pairs = bool(settings["activation"])
    width = shape[-1] if isinstance(shape[-1], int) else -1
    if not pairs and width < 0:
        raise BadPackage(f"the graph {graph.name} does not say how wide its output is: export it with a fixed width")
    derived = signature_of(pairs, width * len(str(settings["pooling"]).split("+")))
    if signature is not None and signature.outputs:
        check_signature(signature, derived, "the encoder")
    return EncoderEngine(tokenizer, network, settings, signature if signature and signature.outputs else derived)


def signature_of(pairs: bool, width: int) -> Signature:
    """Text to an embedding, or pairs of a query and a document to a score."""
    names = ("query", "document") if pairs else ("text",)
    inputs = tuple(TensorSpec(name=name, datatype="BYTES", shape=(-1,), semantic="text") for name in names)
    output = TensorSpec(name="score", datatype="FP32", shape=(-1,))
    if not pairs:
        output = TensorSpec(name="embedding", datatype="FP32", shape=(-1, width))
    return Signature(inputs=inputs, outputs=(output,), on_request=_OUTPUTS)


def open_tokenizer(path: Path, most: int) -> Any:
    """A tokenizer that cuts at so many tokens and pads nothing. Raises BadPackage, MissingExtra."""
    tokenizers: Any = require("tokenizers", "encoders", "an encoder")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(most)
    except Exception as error:
        raise BadPackage(f"{path.name} cannot be read: {short(error)}") from None
    return tokenizer
