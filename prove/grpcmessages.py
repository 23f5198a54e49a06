"""Messages of gRPC as a client has them: Argosy's own speaks HTTP, so that proofs and tests alone need these."""

from typing import Any

from argosy.protocol import grpc, raw
from argosy.protocol.rest import Request, Response


def encode_request(name: str, version: str, request: Request, use_raw: bool = True) -> Any:
    """Request → message."""
    message = grpc.InferRequest(model_name=name, model_version=version, id=request.id or "")
    grpc.encode_parameters(request.parameters, message.parameters)
    for output in request.outputs:
        grpc.encode_parameters(output.parameters, message.outputs.add(name=output.name).parameters)
    if not use_raw:
        grpc._put_typed(message.inputs, request.tensors)
        return message
    for tensor in request.tensors:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        message.raw_input_contents.append(raw.encode(tensor))
    return message


def decode_response(message: Any) -> Response:
    """Message → response. Raises InvalidArgument."""
    raws, outputs = message.raw_output_contents, message.outputs
    tensors = grpc._raw_tensors(outputs, raws, False) if raws else [grpc._typed(item, False) for item in outputs]
    parameters = grpc.decode_parameters(message.parameters)
    return Response(message.model_name, message.model_version or None, tensors, message.id or None, parameters)
