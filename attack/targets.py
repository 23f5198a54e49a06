"""What reads foreign bytes: each target takes bytes and either reads them or raises an ArgosyError.

Any other exception, a crash, over 2 GiB of memory or 20 s is a finding. Seeds are what honest senders write.
"""

import io
import pickle
import struct
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from argosy.engines import lightgbm_file, mlflow_file, onnx_file, sklearn, unpickle, xgboost_file
from argosy.engines.base import Loading
from argosy.packaging.detect import detect
from argosy.packaging.package import open_package
from argosy.packaging.rows import to_tensors
from argosy.protocol import compression, grpc, rest, rows, tensorfile
from argosy.serving import frames, http
from argosy.spec import strict
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.package import Conversion, ModelManifest, Scan, Source
from argosy.spec.settings import Settings
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor
from argosy.store.manifest import CONFIG, Descriptor, image_manifest, layer, package_files, parse
from argosy.store.oci import reference
from argosy.store.oci.credentials import find
from argosy.store.oci.tokens import challenge_of
from argosy.trust import bundle
from argosy.trust.statement import check_statement, statement
from attack import devices
from prove.grpcmessages import encode_request

LIMIT = 4 * 1024 * 1024
ROWS = TensorSpec(name="x", datatype="FP32", shape=(-1, 4))
SIGNATURE = Signature(inputs=(ROWS,), outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),))


@dataclass(frozen=True)
class Target:
    """A reader under attack, and inputs that it takes."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


@contextmanager
def file(data: bytes, name: str = "model") -> Iterator[Path]:
    """The bytes as a file in memory-backed storage where there is some."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


def _rest(data: bytes) -> object:
    """The first two bytes say how long the JSON part is; 65535: no header names it."""
    if len(data) < 2:
        return None
    length, body = int.from_bytes(data[:2], "little"), data[2:]
    told = None if length == 65535 else rest.parse_header_length(str(length), len(body))
    return rest.decode_request(body, told, SIGNATURE)


def _rest_seeds() -> list[bytes]:
    request = rest.Request([Tensor("x", "FP32", np.ones((2, 4), np.float32))], "1", {"k": 1})
    texts = rest.Request([Tensor("s", "BYTES", np.array([b"a", b"bc"], object))])
    found: list[bytes] = []
    for each in (request, texts):
        for binary in (False, True):
            body, length = rest.encode_request(each, binary)
            found.append((65535 if length is None else length).to_bytes(2, "little") + body)
    return [*found, b"\0\0" + bytes(32)]


def _tensorfile_seeds() -> list[bytes]:
    return [tensorfile.dump([Tensor("x", "FP32", np.ones((2, 4), np.float32))])]


def _rows(data: bytes) -> object:
    """The first byte says which protocol's they are."""
    keys = rows.V1 if data[:1] == b"\0" else rows.MLFLOW
    return to_tensors(rows.decode(data[1:], SIGNATURE, keys), SIGNATURE.inputs, lenient=False)


def _rows_seeds() -> list[bytes]:
    row = b'{"x": [1, null, 3.5, 4]}'
    frame = b'{"columns": [0, 1, 2, 3], "data": [[1, 2, 3, 4]]}'
    forms = [b'{"instances": [%b, %b]}' % (row, row), b'{"inputs": [{"x": {"0": [1, 2, 3, NaN]}}]}']
    return [b"\0" + each for each in forms] + [b"\1[%b]" % row, b"\1" + row, b'\1{"dataframe_split": %b}' % frame]


def _response(data: bytes) -> object:
    return rest.decode_response(data[2:], int.from_bytes(data[:2], "little")) if len(data) > 2 else None


def _grpc(data: bytes) -> object:
    from google.protobuf.message import DecodeError

    try:
        wire = grpc.InferRequest.FromString(data)
    except DecodeError as error:
        raise InvalidArgument(str(error)) from None
    return grpc.decode_request(wire)


def _grpc_seeds() -> list[bytes]:
    request = rest.Request([Tensor("x", "FP32", np.ones((2, 4), np.float32))], "1", {"k": True})
    return [encode_request("m", "1", request, use_raw=raw).SerializeToString() for raw in (False, True)]


def _compressed(data: bytes) -> object:
    return compression.decompress(data[1:], ("gzip", "deflate")[data[0] % 2] if data else "gzip", LIMIT)


def _compressed_seeds() -> list[bytes]:
    plain = b'{"inputs": []}' * 50
    return [b"\0" + compression.compress(plain, "gzip"), b"\1" + zlib.compress(bytes(100_000))]


def _frame(data: bytes) -> object:
    if len(data) < frames.HEAD.size:
        raise InvalidArgument("cut")
    head, _ = frames.sizes(data[: frames.HEAD.size])
    rest_ = data[frames.HEAD.size :]
    return frames.read(rest_[:head], rest_[head:])


def _frame_seeds() -> list[bytes]:
    from argosy.store.payloads.record import REQUEST

    requests = np.zeros(1, REQUEST)
    requests["rows"] = 2
    block = frames.encode_block(requests, ["id"], [("input", "x", "FP32", np.ones((2, 4), np.float32))])
    return [b"".join(bytes(part) for part in block), frames.encode(frames.Orders(sample=0.5))]


def _walker(inspect: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        with file(data, name) as path:
            return inspect(path)

    return run


def _mlmodel(data: bytes) -> object:
    with file(data, "MLmodel") as path:
        return mlflow_file.read(path.parent)


def _manifest(data: bytes) -> object:
    with file(data, "model.yaml") as path:
        path.with_name("w").touch()
        return open_package(path.parent)


def _pulled(data: bytes) -> object:
    return package_files(parse(data, "a manifest"), "a manifest", LIMIT)


def _pulled_seeds() -> list[bytes]:
    layers = tuple(layer(path, "sha256:" + "0" * 64, 10) for path in ("model.yaml", "weights/a.onnx"))
    config = Descriptor(media_type=CONFIG, digest="sha256:" + "1" * 64, size=2)
    return [image_manifest(config, layers), image_manifest(config, layers, subject=config)]


def _logins(data: bytes) -> object:
    with file(data, "auth.json") as path:
        return find("r.example", "a/b", {"REGISTRY_AUTH_FILE": str(path), "PATH": ""})


def _manifest_seeds() -> list[bytes]:
    manifest = ModelManifest(
        name="a",
        engine="onnx",
        weights="w",
        signature=SIGNATURE,
        source=Source(name="a.onnx", digest="sha256:0", format="onnx"),
        conversion=Conversion(source="onnx", converted=False, reason="onnx runs as it is"),
        scan=Scan(verdict="data-only"),
    )
    return [strict.dump_yaml(manifest).encode()]


def _onnx_seeds() -> list[bytes]:
    from onnx import TensorProto, helper

    node = helper.make_node("Relu", ["x"], ["y"])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in "xy"]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    graph = helper.make_graph([node], "g", sides[:1], sides[1:], [weight])
    return [helper.make_model(graph).SerializeToString()]


def _boosters() -> tuple[list[bytes], list[bytes]]:
    import lightgbm
    import xgboost

    x, y = np.arange(80.0).reshape(20, 4), np.arange(20.0) % 2
    booster = xgboost.train({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(x, y), 2)
    light = lightgbm.train({"verbosity": -1, "min_data_in_leaf": 2, "num_threads": 1}, lightgbm.Dataset(x, y), 2)
    return [bytes(booster.save_raw(form)) for form in ("ubj", "json")], [light.model_to_string().encode()]


def _estimators() -> list[Any]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = np.arange(80.0).reshape(20, 4), np.arange(20) % 2
    models = (make_pipeline(StandardScaler(), LogisticRegression()), RandomForestClassifier(2, max_depth=2))
    return [model.fit(x, y) for model in models]


def _pickle_seeds() -> list[bytes]:
    import joblib

    pipeline, forest = _estimators()
    found = [pickle.dumps(pipeline, protocol) for protocol in (2, 5)]
    for model, compress in ((pipeline, 0), (pipeline, 1), (forest, 0)):
        joblib.dump(model, packed := io.BytesIO(), compress=compress)
        found.append(packed.getvalue())
    return found


def _skops_seeds() -> list[bytes]:
    import skops.io  # 2 s of imports, which workers that run other tests have no need of

    return [skops.io.dumps(model) for model in _estimators()[:1]]


def _skops(path: Path) -> object:
    return sklearn.load(Loading(path, None, {}, 1))


MLMODEL = b"""artifact_path: model
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle}
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}]'
  outputs: '[{"type": "long", "required": true}]'
"""
ENDPOINT = b"name: a\nmodel: a:1\nreplicas: {min: 0, max: 2}\nkeys: [{name: k, requests_per_second: 2}]\n"
SIGNED = {"model.yaml": "0" * 64, "weights/model.onnx": "1" * 64}
KEY = ec.derive_private_key(7, ec.SECP256R1())


def _signer() -> x509.Certificate:
    """A certificate of the key, by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ada")])
    made = x509.CertificateBuilder(name, name, KEY.public_key(), 1)
    made = made.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2030, 1, 1))  # noqa: DTZ001
    names = x509.SubjectAlternativeName([x509.RFC822Name("ada@example.org"), x509.DNSName("example.org")])
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    for each in (names, usage, x509.BasicConstraints(ca=True, path_length=1)):
        made = made.add_extension(each, critical=False)
    return made.sign(KEY, hashes.SHA256())


def _signature(data: bytes) -> None:
    found = bundle.read(data, "it")
    found.check_files(SIGNED)
    found.check_key(KEY.public_key())
    if not found.hint:
        _judged(found)


def _judged(found: bundle.Bundle) -> None:
    """What is odd about a certificate is nothing to tell its reader."""
    with warnings.catch_warnings(action="ignore"):
        assert isinstance(found.signer, str)
        found.check_authority([_signer()])


def _chain(data: bytes) -> None:
    certificate = SimpleNamespace(public_key=KEY.public_key, public_bytes=lambda form: data)
    made = bundle.sign("m", SIGNED, KEY, [cast("x509.Certificate", certificate)])
    _judged(bundle.read(made, "it"))


SETTINGS = b"gateway: {port: 8080}\nalerts: {ops: {kind: webhook, url: $HOOK}}\n"

TARGETS: dict[str, Target] = {
    "rest": Target(_rest, _rest_seeds),
    "device-request": Target(devices.request, _rest_seeds),
    "device-tensorfile": Target(_walker(devices.tensor_file, "inputs.oip"), _tensorfile_seeds),
    "rows": Target(_rows, _rows_seeds),
    "rest-response": Target(_response, lambda: [b'\x0f\0{"outputs": []}']),
    "grpc": Target(_grpc, _grpc_seeds),
    "compression": Target(_compressed, _compressed_seeds),
    "tensorfile": Target(tensorfile.parse, _tensorfile_seeds),
    "frames": Target(_frame, _frame_seeds),
    "registry-manifest": Target(_pulled, _pulled_seeds),
    "registry-logins": Target(_logins, lambda: [b'{"auths": {"r.example/a": {"auth": "YTpi"}}, "credHelpers": {}}']),
    "registry-challenge": Target(
        lambda data: challenge_of([data.decode("latin-1")]), lambda: [b'Bearer realm="https://a.example/t",service="r"']
    ),
    "registry-reference": Target(
        lambda data: reference.parse(data.decode("latin-1")), lambda: [b"r.example:5000/models/a:1@sha256:" + b"0" * 64]
    ),
    "signature": Target(_signature, lambda: [bundle.sign("m", SIGNED, KEY, chain) for chain in ([], [_signer()])]),
    "signature-statement": Target(lambda data: check_statement(data, SIGNED), lambda: [statement("m", SIGNED)]),
    "signature-chain": Target(_chain, lambda: [_signer().public_bytes(Encoding.DER)]),
    "paths": Target(lambda data: http.parse(data.decode("latin-1")), lambda: [b"/v2/models/a/versions/1/infer"]),
    "onnx": Target(_walker(onnx_file.inspect, "m.onnx"), _onnx_seeds),
    "lightgbm": Target(_walker(lightgbm_file.inspect, "m.txt"), lambda: _boosters()[1]),
    "xgboost": Target(_walker(xgboost_file.inspect, "m.ubj"), lambda: _boosters()[0]),
    "pickle": Target(_walker(unpickle.load, "m.joblib"), _pickle_seeds),
    "pickle-scan": Target(_walker(unpickle.contents, "m.joblib"), _pickle_seeds),
    "skops": Target(_walker(_skops, "m.skops"), _skops_seeds),
    "detect": Target(_walker(detect, "model.bin"), lambda: [*_onnx_seeds(), *_boosters()[1], b"\x80\x04N."]),
    "mlmodel": Target(_mlmodel, lambda: [MLMODEL]),
    "manifest": Target(_manifest, _manifest_seeds),
    "endpoint": Target(lambda data: strict.load_yaml(data, Endpoint, "it"), lambda: [ENDPOINT]),
    "declarations": Target(lambda data: strict.load_yaml_documents(data, Endpoint, "it"), lambda: [ENDPOINT]),
    "settings": Target(lambda data: strict.load_yaml(data, Settings, "it"), lambda: [SETTINGS]),
    "endpoint-json": Target(
        lambda data: strict.decode(data, Endpoint, "it"), lambda: [b'{"name": "a", "model": "a:1", "replicas": 2}']
    ),
}
"""Every target by name."""


FORBIDDEN = frozenset(
    {
        *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill", "os.putenv"),
        *("subprocess.Popen", "socket.connect", "socket.bind", "builtins.input"),
        *("os.chmod", "os.chown", "os.link", "os.symlink", "pty.spawn", "urllib.Request"),
    }
)
"""Events of Python's audit that no reader has a reason for."""
_seen: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in FORBIDDEN:
        _seen.append(f"{event} {arguments!r:.200}")


sys.addaudithook(_watch)


def attack(target: Target, data: bytes) -> bool:
    """Whether the target takes the bytes; False where it refuses them. Raises what is a finding."""
    global _watching
    _seen.clear()
    _watching = True
    try:
        target.run(data)
        taken = True
    except ArgosyError:
        taken = False
    finally:
        _watching = False
    assert not _seen, f"a reader did what none may: {_seen}"
    return taken


def mutations(data: bytes) -> Iterator[bytes]:
    """Some hundred changes of an input: cut, flipped, doubled, with extreme numbers in place of its own."""
    generator = np.random.default_rng(len(data))
    size = len(data)
    for at in np.unique(np.linspace(0, size, 24, dtype=int)).tolist():
        yield data[:at]
        yield data[:at] + data[at // 2 :]
    for _ in range(100):
        changed = bytearray(data)
        for at in generator.integers(0, size, 3).tolist() if size else ():
            changed[at] = int(generator.integers(0, 256))
        yield bytes(changed)
    for at in generator.integers(0, max(size - 8, 1), 40).tolist():
        for number in (0, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1):
            yield data[:at] + struct.pack("<Q", number) + data[at + 8 :]
