"""The gRPC side of the reference server, and the two of them started together."""

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc

from argosy_conformance.messages import message
from argosy_conformance.rpc import CONTENTS, SERVICE
from argosy_conformance.tensors import Tensor, pack
from tests.distributions.conformance.reference import EXTENSIONS, Problem, Service, demand
from tests.distributions.conformance.reference_http import Handler, fits

LARGE = [("grpc.max_receive_message_length", 1 << 28), ("grpc.max_send_message_length", 1 << 28)]
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Calls:
    """One method for each call of the service: request and context in, response out."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def ServerLive(self, asked: Any) -> Any:  # noqa: N802
        return message("ServerLiveResponse")(live="not-live" not in self.service.faults)

    def ServerReady(self, asked: Any) -> Any:  # noqa: N802
        return message("ServerReadyResponse")(ready=True)

    def ModelReady(self, asked: Any) -> Any:  # noqa: N802
        self.service.model(asked.name, asked.version)
        return message("ModelReadyResponse")(ready=True)

    def ServerMetadata(self, asked: Any) -> Any:  # noqa: N802
        return message("ServerMetadataResponse")(name="reference", version="1", extensions=EXTENSIONS)

    def ModelMetadata(self, asked: Any) -> Any:  # noqa: N802
        inputs, outputs = self.service.model(asked.name, asked.version)
        return message("ModelMetadataResponse")(
            name=asked.name, versions=["1"], platform="test", inputs=inputs, outputs=outputs
        )

    def ModelConfig(self, asked: Any) -> Any:  # noqa: N802
        self.service.model(asked.name, asked.version)
        return message("ModelConfigResponse")(config={"name": asked.name, "platform": "test"})

    def ModelStatistics(self, asked: Any) -> Any:  # noqa: N802
        count = self.service.counts[asked.name]
        return message("ModelStatisticsResponse")(model_stats=[{"name": asked.name, "inference_count": count}])

    def RepositoryIndex(self, asked: Any) -> Any:  # noqa: N802
        names = [name for name in self.service.models if name not in self.service.unloaded]
        models = [{"name": name, "version": "1", "state": "READY"} for name in names]
        return message("RepositoryIndexResponse")(models=models)

    def ModelInfer(self, asked: Any) -> Any:  # noqa: N802
        self.service.model(asked.model_name, asked.model_version)
        timeout = asked.parameters["timeout"].int64_param / 1e6 if "timeout" in asked.parameters else None
        names = [item.name for item in asked.outputs]
        found = self.service.infer(asked.model_name, self.tensors(asked), names, timeout)
        made = message("ModelInferResponse")(model_name=asked.model_name, model_version="1")
        made.id = "" if "swallow-id" in self.service.faults else asked.id
        for tensor in found:
            item = made.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            if asked.raw_input_contents:
                made.raw_output_contents.append(tensor.raw)
            else:
                getattr(item.contents, CONTENTS[tensor.datatype]).extend(tensor.values())
        return made

    def tensors(self, asked: Any) -> list[Tensor]:
        """The inputs of a request. Raises Problem for what the protocol forbids."""
        raws = list(asked.raw_input_contents)
        demand(asked.inputs, "inputs is missing")
        demand(not raws or len(raws) == len(asked.inputs), "raw contents and inputs differ in number")
        found = []
        for place, item in enumerate(asked.inputs):
            demand(all(axis >= 0 for axis in item.shape), "a negative axis")
            typed = item.HasField("contents")
            demand(not (typed and raws) or "mixed" in self.service.faults, "raw and typed contents together")
            raw = raws[place] if raws else self.typed(item)
            if "big-endian" in self.service.faults and item.datatype in ("INT32", "FP32") and raws:
                raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
            fits(item.datatype, list(item.shape), raw, self.service.faults)
            found.append(Tensor(item.name, item.datatype, tuple(item.shape), raw))
        return found

    def typed(self, item: Any) -> bytes:
        field = CONTENTS.get(item.datatype)
        demand(field, f"{item.datatype} has no typed contents")
        set_fields = [descriptor.name for descriptor, _ in item.contents.ListFields()]
        demand(set(set_fields) <= {field}, f"contents in {set_fields}, {item.datatype} belongs in {field}")
        try:
            return pack(item.datatype, list(getattr(item.contents, str(field))))
        except (struct.error, Exception) as error:
            raise Problem(400, str(error)) from None


class Rpcs(grpc.GenericRpcHandler):
    """Every call by its name, the stream, health and reflection."""

    def __init__(self, service: Service) -> None:
        self.calls = Calls(service)

    def service(self, details: Any) -> Any:
        path, method = details.method.strip("/").split("/")
        if path == SERVICE and method == "ModelStreamInfer":
            return _handler(grpc.stream_stream_rpc_method_handler, self.stream, "ModelInferRequest")
        if path == SERVICE and hasattr(self.calls, method):
            return _handler(grpc.unary_unary_rpc_method_handler, self.unary(method), f"{method}Request")
        if path == "grpc.health.v1.Health":
            return _handler(grpc.unary_unary_rpc_method_handler, self.health, "HealthCheckRequest")
        if path == "grpc.reflection.v1.ServerReflection":
            return _handler(grpc.stream_stream_rpc_method_handler, self.reflect, "ReflectionRequest")
        return None

    def unary(self, method: str) -> Any:
        def call(asked: Any, context: Any) -> Any:
            try:
                return getattr(self.calls, method)(asked)
            except Problem as problem:
                context.abort(CODES.get(problem.status, grpc.StatusCode.INTERNAL), str(problem))

        return call

    def stream(self, asked: Iterator[Any], context: Any) -> Iterator[Any]:
        for one in asked:
            try:
                answer = self.calls.ModelInfer(one)
            except Problem as problem:
                yield message("ModelStreamInferResponse")(error_message=str(problem))
                continue
            bare = "bare-stream" in self.calls.service.faults
            yield answer if bare else message("ModelStreamInferResponse")(infer_response=answer)

    def health(self, asked: Any, context: Any) -> Any:
        return message("HealthCheckResponse")(status=1)

    def reflect(self, asked: Iterator[Any], context: Any) -> Iterator[Any]:
        for _ in asked:
            yield message("ReflectionResponse")(list_services_response={"service": [{"name": SERVICE}]})


def _handler(kind: Any, call: Any, request: str) -> Any:
    return kind(call, message(request).FromString, lambda sent: sent.SerializeToString())


class Web(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None: ...


@contextmanager
def reference(*faults: str) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """A running server with these faults: its URL, its gRPC address, and what makes it drain."""
    service = Service(frozenset(faults))
    web = Web(("127.0.0.1", 0), type("Bound", (Handler,), {"service": service}))
    thread = Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server = grpc.server(ThreadPoolExecutor(40), handlers=[Rpcs(service)], options=LARGE)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{web.server_address[1]}", f"127.0.0.1:{port}", service.drain
    finally:
        server.stop(None).wait()
        web.shutdown()
        web.server_close()
        thread.join()
