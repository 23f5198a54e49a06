"""OpenAI's embeddings and the reranking of Jina and Cohere, as pure functions."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.language import LanguageModel
from argosy.spec.strict import parse
from argosy.spec.tensor import Array

MOST_TEXTS = 2048
"""Texts of one request, as OpenAI has it."""
TOKENS = (
    "'input' holds tokens; this model has a tokenizer of its own, so send text (langchain-openai does with "
    "check_embedding_ctx_length=False)"
)


class EmbeddingsRequest(msgspec.Struct):
    """The body of `/v1/embeddings`. Fields that mean nothing here, such as `user`, are let pass."""

    input: str | list[str | int | list[int]]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    truncate: bool = True

    @property
    def texts(self) -> list[str]:
        """The texts. Raises InvalidArgument for tokens, for none, and for too many."""
        given = [self.input] if isinstance(self.input, str) else self.input
        texts = [each for each in given if isinstance(each, str)]
        if len(texts) < len(given):
            raise InvalidArgument(TOKENS)
        _check_count("input", texts)
        return texts


class _Document(msgspec.Struct):
    text: str


class RerankRequest(msgspec.Struct):
    """The body of `/v1/rerank`."""

    query: str
    documents: list[str | _Document]
    model: str = ""
    top_n: int | None = None
    return_documents: bool = False
    truncate: bool = True

    @property
    def texts(self) -> list[str]:
        """The documents. Raises InvalidArgument for none, and for too many."""
        texts = [each if isinstance(each, str) else each.text for each in self.documents]
        _check_count("documents", texts)
        if self.top_n is not None and self.top_n < 1:
            raise InvalidArgument(f"'top_n' is {self.top_n}; it must be 1 or more")
        return texts


REQUESTS: Mapping[str, type[EmbeddingsRequest | RerankRequest]] = {
    "embeddings": EmbeddingsRequest,
    "rerank": RerankRequest,
}
KINDS = {"embeddings": "encoder", "rerank": "reranker"}
"""The last part of a path → the kind of model that answers there."""


class _Named(msgspec.Struct):
    model: str = ""


def model_of(body: bytes) -> str:
    """The model that a body names; empty where it names none or is no JSON. Raises nothing."""
    try:
        return msgspec.json.decode(body, type=_Named).model
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def decode(operation: str, body: bytes, model: str) -> EmbeddingsRequest | RerankRequest:
    """The request for a model of this name. Raises InvalidArgument, and NotFound where it names another."""
    request = parse(body, REQUESTS[operation], f"the body is no request for {operation}", InvalidArgument)
    name = request.model.partition(":")[0].partition("+")[0]
    if name not in ("", model):
        raise NotFound(f"the model '{request.model[:80]}' does not exist here; this is '{model}'")
    return request


def check_dimensions(asked: int | None, language: LanguageModel, width: int) -> int:
    """The length of the embeddings asked for. Raises InvalidArgument for one that the model is not made for."""
    if asked is None or asked == width:
        return width
    allowed = language.dimensions
    if not (0 < asked < width and (asked in allowed or 0 in allowed)):
        known = "1 to " if 0 in allowed else "".join(f"{each}, " for each in allowed if each < width)
        raise InvalidArgument(f"'dimensions' is {asked}; the embeddings of this model have {known}{width}")
    return asked


def refuse_truncated(truncated: Array, most: int) -> None:
    """Raise InvalidArgument for the first text that had to be cut."""
    if truncated.any():
        place = int(truncated.argmax())
        raise InvalidArgument(f"text {place} has more than {most} tokens, and 'truncate' is false")


def embeddings(request: EmbeddingsRequest, model: str, arrays: Sequence[Array], dimensions: int) -> bytes:
    """The answer of `/v1/embeddings` for embeddings, tokens and whether a text was cut. `truncated` names those."""
    found, tokens, truncated = arrays
    if dimensions < found.shape[1]:
        found = found[:, :dimensions]
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    if request.encoding_format == "base64":
        little = np.ascontiguousarray(found, "<f4")
        values: list[Any] = [base64.b64encode(row).decode() for row in little]
    else:
        values = found.tolist()
    data = [{"object": "embedding", "index": place, "embedding": value} for place, value in enumerate(values)]
    return _answered({"object": "list", "data": data, "model": request.model or model}, tokens, truncated)


def rerank(request: RerankRequest, model: str, arrays: Sequence[Array]) -> bytes:
    """The answer of `/v1/rerank` for scores, tokens and whether a text was cut: the best documents first."""
    scores, tokens, truncated = arrays
    texts = request.texts
    results: list[dict[str, Any]] = []
    for place in np.argsort(-scores, kind="stable")[: request.top_n].tolist():
        results.append({"index": place, "relevance_score": float(scores[place])})
        if request.return_documents:
            results[-1]["document"] = {"text": texts[place]}
    return _answered({"object": "list", "results": results, "model": request.model or model}, tokens, truncated)


def listed(name: str) -> dict[str, Any]:
    """A model in OpenAI's list of them."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "argosy"}


def _answered(answer: dict[str, Any], tokens: Array, truncated: Array) -> bytes:
    total = int(tokens.sum())
    answer["usage"] = {"prompt_tokens": total, "total_tokens": total}
    if truncated.any():
        answer["truncated"] = np.flatnonzero(truncated).tolist()
    return msgspec.json.encode(answer)


def _check_count(name: str, texts: Sequence[str]) -> None:
    if not 0 < len(texts) <= MOST_TEXTS:
        raise InvalidArgument(f"'{name}' has {len(texts)} texts; 1 to {MOST_TEXTS} are taken")
