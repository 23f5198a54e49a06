"""The gRPC messages of the protocol, built from their field numbers in a descriptor pool of the judge's own.

`tritonclient` registers the package `inference` in protobuf's default pool, so nothing here ever touches that one. Only
field numbers and types travel on the wire; the package name below is therefore free.
"""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "argosy_conformance"

TYPES = {
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "int32": 5,
    "uint32": 13,
    "int64": 3,
    "uint64": 4,
    "float": 2,
    "double": 1,
}

MESSAGES: dict[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "1 bool live",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "1 bool ready",
    "ModelReadyRequest": "1 string name; 2 string version",
    "ModelReadyResponse": "1 bool ready",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "1 string name; 2 string version; 3 string* extensions",
    "ModelMetadataRequest": "1 string name; 2 string version",
    "TensorMetadata": "1 string name; 2 string datatype; 3 int64* shape",
    "ModelMetadataResponse": (
        "1 string name; 2 string* versions; 3 string platform; 4 TensorMetadata* inputs; 5 TensorMetadata* outputs"
    ),
    "InferParameter": (
        "1 bool bool_param @; 2 int64 int64_param @; 3 string string_param @; 4 double double_param @;"
        "5 uint64 uint64_param @"
    ),
    "InferTensorContents": (
        "1 bool* bool_contents; 2 int32* int_contents; 3 int64* int64_contents; 4 uint32* uint_contents;"
        "5 uint64* uint64_contents; 6 float* fp32_contents; 7 double* fp64_contents; 8 bytes* bytes_contents"
    ),
    "InferTensor": (
        "1 string name; 2 string datatype; 3 int64* shape; 4 InferParameter% parameters; 5 InferTensorContents contents"
    ),
    "InferRequestedOutput": "1 string name; 2 InferParameter% parameters",
    "ModelInferRequest": (
        "1 string model_name; 2 string model_version; 3 string id; 4 InferParameter% parameters;"
        "5 InferTensor* inputs; 6 InferRequestedOutput* outputs; 7 bytes* raw_input_contents"
    ),
    "ModelInferResponse": (
        "1 string model_name; 2 string model_version; 3 string id; 4 InferParameter% parameters;"
        "5 InferTensor* outputs; 6 bytes* raw_output_contents"
    ),
    "ModelStreamInferResponse": "1 string error_message; 2 ModelInferResponse infer_response",
    "RepositoryIndexRequest": "1 string repository_name; 2 bool ready",
    "ModelIndex": "1 string name; 2 string version; 3 string state; 4 string reason",
    "RepositoryIndexResponse": "1 ModelIndex* models",
    "RepositoryModelLoadRequest": "1 string repository_name; 2 string model_name",
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": "1 string repository_name; 2 string model_name",
    "RepositoryModelUnloadResponse": "",
    "ModelConfigRequest": "1 string name; 2 string version",
    "ModelConfig": "1 string name; 2 string platform; 4 int32 max_batch_size",
    "ModelConfigResponse": "1 ModelConfig config",
    "ModelStatisticsRequest": "1 string name; 2 string version",
    "ModelStatistics": "1 string name; 2 string version; 3 uint64 last_inference; 4 uint64 inference_count",
    "ModelStatisticsResponse": "1 ModelStatistics* model_stats",
    "HealthCheckRequest": "1 string service",
    "HealthCheckResponse": "1 int32 status",
    "ReflectionRequest": "1 string host; 7 string list_services",
    "ReflectedService": "1 string name",
    "ReflectedServices": "1 ReflectedService* service",
    "ReflectionResponse": "6 ReflectedServices list_services_response",
}
"""Message → its fields: number, type and name; `*` repeated, `%` a map from string, `@` a member of the one oneof."""


@cache
def message(name: str) -> Any:
    """The class of one of `MESSAGES`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@cache
def _pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="argosy_conformance.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        kind = file.message_type.add(name=name)
        for field in filter(None, (part.split() for part in fields.split(";"))):
            _add(kind, *field)
    pool.Add(file)  # pyright: ignore[reportUnknownMemberType]
    return pool


def _add(kind: Any, number: str, type_name: str, name: str, oneof: str = "") -> None:
    field = kind.field.add(name=name, number=int(number), label=3 if type_name[-1] in "*%" else 1)
    base = type_name.rstrip("*%")
    if type_name.endswith("%"):
        field.type, field.type_name = 11, f".{PACKAGE}.{kind.name}.{_entry(kind, name, base)}"
    elif base in TYPES:
        field.type = TYPES[base]
    else:
        field.type, field.type_name = 11, f".{PACKAGE}.{base}"
    if oneof:
        if not kind.oneof_decl:
            kind.oneof_decl.add(name="choice")
        field.oneof_index = 0


def _entry(kind: Any, name: str, value: str) -> str:
    """The message that proto3 makes for a map; it must be named after the field."""
    title = "".join(part.capitalize() for part in name.split("_")) + "Entry"
    entry = kind.nested_type.add(name=title)
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=1, type=9)
    entry.field.add(name="value", number=2, label=1, type=11, type_name=f".{PACKAGE}.{value}")
    return title
