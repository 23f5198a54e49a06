"""`/v1/embeddings` and `/v1/rerank` of a replica: the same models, batcher and counts as for every other path."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from argosy.protocol import openai
from argosy.protocol.bounds import Bounds
from argosy.protocol.openai import EmbeddingsRequest, RerankRequest
from argosy.protocol.rest import Output, Request, Response
from argosy.serving.exchange import Exchange, Headers
from argosy.serving.model import ServedModel
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature
from argosy.spec.tensor import Tensor

if TYPE_CHECKING:
    from argosy.serving.dataplane import DataPlane

Compress = Callable[[Exchange, bytes | bytearray, int | None], tuple[bytes | bytearray, Headers]]

OUTPUTS = {
    "embeddings": [Output("embedding"), Output("tokens"), Output("truncated")],
    "rerank": [Output("score"), Output("tokens"), Output("truncated")],
}


class LanguageRequest(Request):
    """A request for tensors, with what its answer is to look like."""

    asked: EmbeddingsRequest | RerankRequest | None = None
    dimensions: int = 0


def chosen(plane: "DataPlane", exchange: Exchange, operation: str, named: str) -> ServedModel:
    """The model that the path, or else the body, names; the only one where there is one. Raises what `plane.model`
    raises, and InvalidArgument for one that gives no embeddings, or scores."""
    if not named and len(plane.models()) > 1:
        named = openai.model_of(exchange.body).partition(":")[0]
    model = plane.model(named) if named else plane.only()
    if model.language is None or model.language.kind != openai.KINDS[operation]:
        raise InvalidArgument(f"'{model.name}' is no {openai.KINDS[operation]}; ask /v2/models/{model.name}/infer")
    return model


def decode(
    operation: str,
    timeout: Callable[[Mapping[bytes, bytes]], float | None],
    model: ServedModel,
    headers: Mapping[bytes, bytes],
    body: bytes,
    bounds: Bounds | None,
) -> tuple[Request, float | None]:
    """A body → tensors. What they may hold, the queue checks. Raises InvalidArgument, NotFound."""
    asked = openai.decode(operation, body, model.name)
    tensors, width = [_tensor(model.signature.inputs[-1].name, asked.texts)], 0
    if isinstance(asked, RerankRequest):
        tensors.insert(0, _tensor("query", [asked.query] * len(tensors[0].array)))
    elif model.language is not None:
        width = openai.check_dimensions(asked.dimensions, model.language, model.signature.outputs[0].shape[1])
    request = LanguageRequest(tensors, outputs=OUTPUTS[operation], asked=asked, dimensions=width)
    return request, timeout(headers)


def encode(
    request: Request, model: ServedModel, compress: Compress, exchange: Exchange, signature: Signature, found: Response
) -> tuple[bytes | bytearray, Headers]:
    """Tensors → the body of an answer. Raises InvalidArgument where a text was cut that may not be."""
    assert isinstance(request, LanguageRequest)
    assert request.asked is not None
    asked, arrays = request.asked, [tensor.array for tensor in found.tensors]
    if not asked.truncate and model.language is not None:
        openai.refuse_truncated(arrays[2], model.language.context)
    if isinstance(asked, RerankRequest):
        return compress(exchange, openai.rerank(asked, model.name, arrays), None)
    return compress(exchange, openai.embeddings(asked, model.name, arrays, request.dimensions), None)


def _tensor(name: str, texts: list[str]) -> Tensor:
    array = np.empty(len(texts), object)
    array[:] = [text.encode() for text in texts]
    return Tensor(name, "BYTES", array)
