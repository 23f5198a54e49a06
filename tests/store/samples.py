"""The smallest package folder, and the documents that go with it."""

from collections.abc import Sequence
from pathlib import Path

from argosy.spec.package import Conversion, Lineage, ModelManifest, Scan, Source
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.strict import dump_yaml
from argosy.store import alerts
from argosy.store.alerts import Alert
from argosy.store.database import Database


def model_manifest(name: str = "digits", weights: str = "weights/model.onnx") -> ModelManifest:
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 4))
    return ModelManifest(
        name=name,
        engine="onnx",
        weights=weights,
        signature=Signature(inputs=(spec,), outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 1)),)),
        source=Source(name="model.onnx", digest="sha256:" + "0" * 64, format="onnx"),
        conversion=Conversion(source="onnx", converted=False, reason="it is ONNX already"),
        scan=Scan(verdict="data-only"),
        license="Apache-2.0",
    )


FILES = {
    "LICENSE": b"Apache-2.0",
    "golden/inputs.oip": b"\x01inputs",
    "golden/outputs.oip": b"\x02outputs",
    "model.yaml": dump_yaml(model_manifest()).encode(),
    "profile.json": b"{}",
    "requirements.txt": b"numpy\n",
    "weights/model.onnx": bytes(range(256)) * 16,
}


def model_lineage(by: str = "ada") -> Lineage:
    return Lineage(pushed_by=by, pushed_at="2026-01-01T00:00:00Z", host="here")


def write_folder(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def digest_of(number: int) -> str:
    return f"sha256:{number:064x}"


def put_alerts(database: Database, rows: Sequence[Alert]) -> None:
    with database.begin() as connection:
        alerts.put(connection, rows)
