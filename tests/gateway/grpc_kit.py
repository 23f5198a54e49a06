"""A tiny gRPC server of the protocol on a Unix socket, and short ways to call it through the gateway."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.spec.address import Address


class GrpcReplica(grpc.GenericRpcHandler):
    """Answers every model call with its own name, and records the metadata it was sent."""

    def __init__(self, folder, name):
        self.name, self.path = name, str(folder / f"{name}.sock")
        self.metadata: list[dict[str, str]] = []
        self.fail: grpc.StatusCode | None = None
        self.pool = ThreadPoolExecutor(8)
        self.server = grpc.server(self.pool, options=[("grpc.max_receive_message_length", -1)])
        self.server.add_generic_rpc_handlers((self,))
        self.server.add_insecure_port(f"unix:{self.path}")
        self.server.start()

    def service(self, details):
        method = details.method.rpartition("/")[2]
        self.metadata.append(dict(details.invocation_metadata))
        if method == "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(
                self.stream,
                service_pb2.ModelInferRequest.FromString,
                service_pb2.ModelStreamInferResponse.SerializeToString,
            )
        request = getattr(service_pb2, f"{method}Request")
        return grpc.unary_unary_rpc_method_handler(
            getattr(self, method, self.ModelInfer), request.FromString, lambda answer: answer.SerializeToString()
        )

    def ModelInfer(self, request, context):  # noqa: N802
        if self.fail:
            context.abort(self.fail, "no")
        return service_pb2.ModelInferResponse(model_name=request.model_name, id=self.name)

    def ServerReady(self, request, context):  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request, context):  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=True)

    def stream(self, requests, context):
        for request in requests:
            yield service_pb2.ModelStreamInferResponse(infer_response=self.ModelInfer(request, context))


def served(name, *replicas: GrpcReplica, **fields):
    """An endpoint with a revision for each replica: versions 1, 2, …, all traffic to the first."""
    revisions = tuple(
        RevisionRoute(
            revision=f"r{n}",
            version=str(n),
            weight=int(n == 1),
            upstreams=(
                Upstream(replica=each.name, http=Address(path=f"{each.path}.http"), grpc=Address(path=each.path)),
            ),
        )
        for n, each in enumerate(replicas, 1)
    )
    return EndpointRoute(endpoint=name, revisions=revisions, **fields)


def infer(client, model, version="", headers=None, size=4):
    tensor = triton.InferInput("x", [1, size], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, size), np.float32))
    return client.infer(model, [tensor], model_version=version, headers=headers).get_response().id


async def with_client(gateway, use):
    """Runs blocking client code beside the loop."""
    host, port = await gateway.address()

    def run():
        with triton.InferenceServerClient(f"{host}:{port}") as client:
            return use(client)

    return await asyncio.to_thread(run)


def status(use, *args, **kwargs):
    """The gRPC status and message of a call that fails."""
    with pytest.raises(InferenceServerException) as raised:
        use(*args, **kwargs)
    return raised.value.status(), raised.value.message()
