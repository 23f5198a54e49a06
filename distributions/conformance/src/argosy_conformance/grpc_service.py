"""gRPC: health, metadata, repository, streaming, and the two standard services beside it."""

from typing import Any

from argosy_conformance.check import Failed, Skipped, check
from argosy_conformance.expect import same_all, that
from argosy_conformance.messages import message
from argosy_conformance.rpc import SERVICE, Refused, outputs, request
from argosy_conformance.subject import Subject


@check("grpc_service.live", "ServerLive is true", needs=("grpc",))
def live(subject: Subject) -> str | None:
    that(subject.rpc.call("ServerLive").live, "ServerLive is false")
    return None


@check("grpc_service.ready", "ServerReady is true", needs=("grpc",))
def ready(subject: Subject) -> str | None:
    that(subject.rpc.call("ServerReady").ready, "ServerReady is false")
    return None


@check("grpc_service.model_ready", "ModelReady is true, with and without the version", needs=("grpc", "model"))
def model_ready(subject: Subject) -> str | None:
    that(subject.rpc.call("ModelReady", message("ModelReadyRequest")(name=subject.model)).ready, "ModelReady is false")
    asked = message("ModelReadyRequest")(name=subject.model, version=subject.version())
    that(subject.rpc.call("ModelReady", asked).ready, "ModelReady with a version is false")
    return None


@check("grpc_service.server_metadata", "ServerMetadata says what GET /v2 says", needs=("grpc",))
def server_metadata(subject: Subject) -> str | None:
    seen, want = subject.rpc.call("ServerMetadata"), subject.http.get("/v2").object()
    that(seen.name == want.get("name"), f"name is {seen.name!r}, over REST {want.get('name')!r}")
    that(seen.version == want.get("version"), f"version is {seen.version!r}, over REST {want.get('version')!r}")
    return None


@check("grpc_service.model_metadata", "ModelMetadata says what REST says", needs=("grpc", "model"))
def model_metadata(subject: Subject) -> str | None:
    seen = subject.rpc.call("ModelMetadata", message("ModelMetadataRequest")(name=subject.model))
    for side in ("inputs", "outputs"):
        got = [(item.name, item.datatype, tuple(item.shape)) for item in getattr(seen, side)]
        want = [(port.name, port.datatype, port.shape) for port in subject.ports(side)]
        that(got == want, f"{side} are {got}, over REST {want}")
    that(seen.name == subject.model, f"name is {seen.name!r}")
    return None


@check("grpc_service.version", "ModelInfer takes a version", needs=("grpc", "model"))
def version(subject: Subject) -> str | None:
    found = subject.rpc.infer(request(subject.model, subject.sample, model_version=subject.version()))
    that(found.tensors, "no outputs")
    return None


@check("grpc_service.id", "ModelInfer echoes the id", needs=("grpc", "model"))
def echoed_id(subject: Subject) -> str | None:
    for given in ("request-1", "é漢字😀", "x" * 10_240):
        seen = subject.rpc.infer(request(subject.model, subject.sample, id=given)).id
        that(seen == given, f"sent id {given[:40]!r}, got {str(seen)[:40]!r}")
    return None


@check("grpc_service.stream", "ModelStreamInfer answers each request in its own message", needs=("grpc", "model"))
def stream(subject: Subject) -> str | None:
    want = subject.rpc.infer(request(subject.model, subject.sample))
    asked = [request(subject.model, subject.sample, id=str(place)) for place in range(3)]
    found = _optional(lambda: subject.rpc.stream("ModelStreamInfer", asked))
    that(len(found) == 3, f"3 requests, {len(found)} responses")
    for answer in found:
        that(not answer.error_message, f"error_message: {answer.error_message}")
        that(
            answer.HasField("infer_response"),
            "infer_response is missing (a bare ModelInferResponse, as MLServer sends?)",
        )
        same_all(outputs(answer.infer_response).tensors, want.tensors, "stream against unary")
    ids = sorted(answer.infer_response.id for answer in found)
    that(ids == ["0", "1", "2"], f"the ids are {ids}")
    return None


@check("grpc_service.stream_error", "a bad request in a stream fails alone", needs=("grpc", "model"))
def stream_error(subject: Subject) -> str | None:
    good = [request(subject.model, subject.sample, id=str(place)) for place in range(2)]
    bad = request(subject.model, subject.sample, names=["no-such-output"], id="bad")
    found = _optional(lambda: subject.rpc.stream("ModelStreamInfer", [good[0], bad, good[1]]))
    errors = [answer for answer in found if answer.error_message]
    that(len(found) == 3 and len(errors) == 1, f"{len(found)} responses, {len(errors)} with error_message")
    return None


def _optional(call: Any) -> Any:
    try:
        return call()
    except Refused as refused:
        if refused.status.code == "UNIMPLEMENTED":
            raise Skipped(f"not served: {refused.status.seen()}") from None
        raise


@check("grpc_service.index", "RepositoryIndex lists what the REST index lists", needs=("grpc", "repository"))
def index(subject: Subject) -> str | None:
    found = _optional(lambda: subject.rpc.call("RepositoryIndex")).models
    seen = sorted((item.name, item.state) for item in found)
    want = sorted((str(item.get("name")), str(item.get("state"))) for item in subject.index or [])
    that(seen == want, f"gRPC lists {seen}, REST {want}")
    return None


@check("grpc_service.config", "ModelConfig answers (extension model_configuration)", needs=("grpc", "model"))
def config(subject: Subject) -> str | None:
    asked = message("ModelConfigRequest")(name=subject.model)
    seen = _optional(lambda: subject.rpc.call("ModelConfig", asked))
    that(seen.config.name == subject.model, f"name is {seen.config.name!r}")
    return None


@check("grpc_service.statistics", "ModelStatistics counts (extension statistics)", needs=("grpc", "model"))
def statistics(subject: Subject) -> str | None:
    asked = message("ModelStatisticsRequest")(name=subject.model)
    before = _optional(lambda: subject.rpc.call("ModelStatistics", asked)).model_stats
    subject.rpc.infer(request(subject.model, subject.sample))
    after = subject.rpc.call("ModelStatistics", asked).model_stats
    that(before and after, "model_stats is empty")
    that(after[0].inference_count > before[0].inference_count, "inference_count does not rise with an inference")
    return None


@check("grpc_service.health", "grpc.health.v1.Health/Check is SERVING", needs=("grpc",))
def health(subject: Subject) -> str | None:
    asked = message("HealthCheckRequest")()
    try:
        seen = subject.rpc.call("Check", asked, service="grpc.health.v1.Health", answer="HealthCheckResponse")
    except Refused as refused:
        if refused.status.code != "UNIMPLEMENTED":
            raise
        raise Skipped("the standard health service is not served") from None
    that(seen.status == 1, f"status is {seen.status}, not SERVING (1)")
    return None


@check("grpc_service.reflection", "reflection lists inference.GRPCInferenceService", needs=("grpc",))
def reflection(subject: Subject) -> str | None:
    asked = message("ReflectionRequest")(list_services="*")
    for version in ("v1", "v1alpha"):
        service = f"grpc.reflection.{version}.ServerReflection"
        try:
            found = subject.rpc.stream("ServerReflectionInfo", [asked], service=service, answer="ReflectionResponse")
        except Refused as refused:
            if refused.status.code == "UNIMPLEMENTED":
                continue
            raise
        names = [item.name for item in found[0].list_services_response.service] if found else []
        if SERVICE not in names:
            raise Failed(f"reflection lists {names}")
        return None if version == "v1" else "only reflection v1alpha is served"
    raise Skipped("reflection is not served")
