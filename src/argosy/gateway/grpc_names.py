"""Which fields of a gRPC message name the model and its version, by their numbers in `grpc_predict_v2.proto`."""

import base64
from functools import cache

SERVICE = "inference.GRPCInferenceService"
METHODS = ("ModelInfer", "ModelStreamInfer", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics")
"""Each with the model's name in field 1 of its message, and the version in field 2."""


@cache
def descriptor_set() -> str:
    """A FileDescriptorSet of `METHODS`, serialized, in base64."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

    file = FileDescriptorProto(name="argosy_names.proto", package=SERVICE.rpartition(".")[0], syntax="proto3")
    names = file.message_type.add(name="Names")
    for number, name in enumerate(("name", "version"), 1):
        kind, label = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.LABEL_OPTIONAL
        names.field.add(name=name, number=number, type=kind, label=label)
    full = f".{file.package}.{names.name}"
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for method in METHODS:
        stream = method == "ModelStreamInfer"
        service.method.add(
            name=method, input_type=full, output_type=full, client_streaming=stream, server_streaming=stream
        )
    return base64.b64encode(FileDescriptorSet(file=[file]).SerializeToString(deterministic=True)).decode()


def extractions() -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    """The rules of Envoy's `grpc_field_extraction`."""
    fields = {name: {"metadata_key": name} for name in ("name", "version")}
    return {f"{SERVICE}.{method}": {"request_field_extractions": fields} for method in METHODS}
