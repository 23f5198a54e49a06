"""Which field of a gRPC message names the model: the little of the Open Inference Protocol the gateway must know.

Field numbers are those of `grpc_predict_v2.proto`; fields left out are skipped by the reader, whatever they hold.
"""

import base64
from functools import cache

SERVICE = "inference.GRPCInferenceService"

METHODS: dict[str, tuple[tuple[str, int], tuple[str, int]]] = {
    "ModelInfer": (("model_name", 1), ("model_version", 2)),
    "ModelStreamInfer": (("model_name", 1), ("model_version", 2)),
    "ModelReady": (("name", 1), ("version", 2)),
    "ModelMetadata": (("name", 1), ("version", 2)),
    "ModelConfig": (("name", 1), ("version", 2)),
    "ModelStatistics": (("name", 1), ("version", 2)),
}
"""Method → the fields with the model's name and its version."""


@cache
def descriptor_set() -> str:
    """A FileDescriptorSet of `METHODS`, serialized, in base64."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

    file = FileDescriptorProto(name="argosy_names.proto", package=SERVICE.rpartition(".")[0], syntax="proto3")
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for method, fields in METHODS.items():
        message = file.message_type.add(name=f"{method}Names")
        for name, number in fields:
            message.field.add(
                name=name,
                number=number,
                type=FieldDescriptorProto.TYPE_STRING,
                label=FieldDescriptorProto.LABEL_OPTIONAL,
            )
        full = f".{file.package}.{message.name}"
        stream = method == "ModelStreamInfer"
        service.method.add(
            name=method, input_type=full, output_type=full, client_streaming=stream, server_streaming=stream
        )
    return base64.b64encode(FileDescriptorSet(file=[file]).SerializeToString(deterministic=True)).decode()


def extractions() -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    """The rules of Envoy's `grpc_field_extraction`: every method's name and version, under two fixed keys."""
    return {
        f"{SERVICE}.{method}": {
            "request_field_extractions": {
                fields[0][0]: {"metadata_key": "name"},
                fields[1][0]: {"metadata_key": "version"},
            }
        }
        for method, fields in METHODS.items()
    }
