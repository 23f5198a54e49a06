"""The REST side of the reference server: one handler of `http.server`, and the codec it needs."""

import gzip
import json
import math
import select
import socket
import struct
import time
import zlib
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from argosy_conformance.tensors import CODES, DATATYPES, Tensor, count, pack
from tests.distributions.conformance.reference import EXTENSIONS, Problem, Service, demand

LIMIT = 1 << 28


def flat(data: Any, shape: list[int]) -> list[Any]:
    """Row-major elements of a flat or nested array."""
    if not isinstance(data, list):
        raise Problem(400, "data is no array")
    if any(isinstance(item, list) for item in data):
        demand(shape and len(data) == shape[0] and all(isinstance(item, list) for item in data), "ragged data")
        return [value for item in data for value in flat(item, shape[1:])]
    return data


def packed(datatype: str, values: list[Any], faults: frozenset[str]) -> bytes:
    try:
        if datatype == "BYTES":
            demand(all(isinstance(value, str) for value in values), "BYTES elements are strings")
        elif datatype == "BOOL":
            demand(all(isinstance(value, bool) for value in values), "BOOL elements are true or false")
        else:
            demand(all(type(value) in (int, float) for value in values), "numbers are needed")
        if "float-detour" in faults and "INT" in datatype:
            values = [int(float(value)) for value in values]
        return pack(datatype, values)
    except Problem:
        raise
    except Exception as error:
        raise Problem(400, f"data does not fit: {error}") from None


def split_bytes(raw: bytes) -> int:
    """The number of elements of a BYTES tensor."""
    at = elements = 0
    while at < len(raw):
        demand(at + 4 <= len(raw), "a length is cut")
        at += 4 + struct.unpack_from("<I", raw, at)[0]
        demand(at <= len(raw), "an element runs past the end")
        elements += 1
    return elements


def fits(datatype: str, shape: list[int], raw: bytes, faults: frozenset[str]) -> None:
    demand(datatype in DATATYPES, f"'{datatype}' is no datatype")
    seen = split_bytes(raw) if datatype == "BYTES" else len(raw) / struct.calcsize("<" + CODES[datatype])
    demand(seen == count(shape) or "no-count" in faults, f"{seen} elements for shape {shape}")


def read_tensor(item: Any, rest: bytes, faults: frozenset[str]) -> tuple[Tensor, bytes]:
    demand(isinstance(item, dict), "an input is no object")
    name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
    demand(isinstance(name, str) and isinstance(datatype, str) and datatype in DATATYPES, "name or datatype is wrong")
    demand(isinstance(shape, list) and all(type(axis) is int and axis >= 0 for axis in shape), "shape is wrong")
    size = (item.get("parameters") or {}).get("binary_data_size")
    if size is not None:
        demand(type(size) is int and 0 <= size <= len(rest), "binary_data_size is beyond the body")
        demand("data" not in item, "both data and binary_data_size")
        raw, rest = rest[:size], rest[size:]
    else:
        demand(datatype != "FP16", "FP16 has no JSON form: use the binary extension")
        raw = packed(datatype, flat(item.get("data"), shape), faults)
    fits(datatype, shape, raw, faults)
    return Tensor(name, datatype, tuple(shape), raw), rest


def not_json(text: str) -> Any:
    raise Problem(400, f"{text} is no JSON")


def parse(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode(), parse_constant=not_json)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is no JSON: {error}") from None
    demand(isinstance(value, dict), "the body is no object")
    return value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    service: Service

    def log_message(self, *args: Any) -> None: ...

    def version_string(self) -> str:
        return "reference"

    def handle_one_request(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline:
                self.close_connection = True
            elif self.parse_request():
                self.answer()
        except (OSError, ValueError):
            self.close_connection = True

    def answer(self) -> None:
        try:
            status, body, headers = self.route(self.read_body())
        except Problem as problem:
            status, headers = problem.status, {}
            key = "detail" if "detail" in self.service.faults else "error"
            body = json.dumps({key: str(problem)}).encode()
            self.close_connection = self.close_connection or problem.status == 413
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def read_body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            length = self.headers.get("content-length", "0")
            demand(length.isdecimal(), "Content-Length is no number")
            demand(int(length) < LIMIT, "too large", 413)
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                self.close_connection = True
                raise Problem(400, "the body ends early")
        return self.decompressed(body)

    def decompressed(self, body: bytes) -> bytes:
        coding = self.headers.get("content-encoding", "identity")
        demand(coding in ("identity", "gzip", "deflate"), f"coding {coding}", 415)
        try:
            if coding == "gzip":
                return gzip.decompress(body)
            if coding == "deflate" and "no-deflate" not in self.service.faults:
                return zlib.decompress(body)
        except (OSError, EOFError, zlib.error) as error:
            raise Problem(400, f"broken {coding}: {error}") from None
        return body

    def route(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if self.path == "/v2/" and "redirect" in self.service.faults:
            return 307, b"", {"location": "/v2"}
        parts = [unquote(part) for part in self.path.strip("/").split("/")]
        if parts[-1] == "infer" and len(parts) in (4, 6):
            demand(self.command == "POST", "POST is needed", 405)
            return self.infer(parts[2], parts[4] if len(parts) == 6 else "", body)
        if parts[:2] == ["v2", "repository"]:
            return 200, json.dumps(self.repository(parts[2:], body)).encode(), {}
        value = self.look(parts)
        demand(self.command == "GET", "GET is needed", 405)
        return 200, json.dumps(value).encode(), {}

    def look(self, parts: list[str]) -> Any:
        service = self.service
        match parts:
            case ["v2"]:
                return {"name": "reference", "version": "1", "extensions": EXTENSIONS}
            case ["v2", "health", ("live" | "ready") as what]:
                demand("not-live" not in service.faults, "not live", 503)
                demand(what == "live" or not service.draining, "draining", 503)
                return {"live": True, "ready": True} if what == "ready" else {"live": True}
            case ["v2", "models", "stats"]:
                return {"model_stats": []}
            case ["v2", "models", name, *more]:
                version = more[1] if more[:1] == ["versions"] and len(more) > 1 else ""
                return self.model(name, version, more[2:] if version else more)
        raise Problem(404, "no such path")

    def model(self, name: str, version: str, tail: list[str]) -> Any:
        service = self.service
        if tail == ["ready"] and "ready-any" in service.faults:
            return {"name": name, "ready": True}
        inputs, outputs = service.model(name, version)
        about = {"name": name, "platform": "test"}
        versions: list[Any] = [1] if "int-versions" in service.faults else ["1"]
        return {
            "": {**about, "versions": versions, "inputs": inputs, "outputs": outputs},
            "ready": {"name": name, "ready": True},
            "config": about,
            "stats": {"model_stats": [{"name": name, "version": "1", "inference_count": service.counts[name]}]},
        }["/".join(tail)]

    def repository(self, parts: list[str], body: bytes) -> Any:
        service = self.service
        if parts == ["index"]:
            demand(body or "index-needs-body" not in service.faults, "a body is needed")
            parse(body or b"{}")
            return [{"name": n, "version": "1", "state": "READY"} for n in service.models if n not in service.unloaded]
        _, name, action = parts
        if "load-anything" in service.faults:
            service.models.setdefault(name, service.models["plain"])
        demand(name in service.models, f"unknown model '{name}'", 404)
        if action == "unload":
            service.unloaded.add(name)
        elif "reload-gap" in service.faults:
            service.unloaded.add(name)
            time.sleep(0.05)
        if action == "load":
            service.unloaded.discard(name)
        return {}

    def infer(self, name: str, version: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        self.service.model(name, version)
        header, rest = self.header(body)
        value = parse(header)
        demand(isinstance(value.get("id", ""), str), "id is no string")
        parameters, wanted = value.get("parameters", {}), value.get("outputs", [])
        demand(isinstance(parameters, dict) and isinstance(wanted, list), "parameters or outputs is wrong")
        demand(isinstance(value.get("inputs"), list) and value["inputs"], "inputs is missing")
        tensors = []
        for item in value["inputs"]:
            tensor, rest = read_tensor(item, rest, self.service.faults)
            tensors.append(tensor)
        demand(not rest or "sloppy" in self.service.faults, "bytes are left over")
        timeout = parameters.get("timeout")
        demand(timeout is None or type(timeout) is int, "timeout is no number")
        names = [item["name"] for item in wanted]
        seconds = timeout / 1e6 if timeout is not None else None
        found = self.service.infer(name, tensors, names, seconds, self.gone)
        return self.written(name, value, found)

    def gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def header(self, body: bytes) -> tuple[bytes, bytes]:
        length = self.headers.get("inference-header-content-length")
        if length is None:
            return body, b""
        demand(length.isdecimal() and 0 < int(length) <= len(body), "the header length is wrong")
        return body[: int(length)], body[int(length) :]

    def written(self, name: str, value: dict[str, Any], found: list[Tensor]) -> tuple[int, bytes, dict[str, str]]:
        faults = self.service.faults
        default = value.get("parameters", {}).get("binary_data_output", False)
        wishes = {w["name"]: w.get("parameters", {}).get("binary_data", default) for w in value.get("outputs", [])}
        raw = b""
        outputs = []
        for tensor in found:
            item: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
            if wishes.get(tensor.name, default) and "always-json" not in faults:
                item["parameters"] = {"binary_data_size": len(tensor.raw)}
                raw += tensor.raw
            else:
                item["data"] = self.data(tensor)
            outputs.append(item)
        body: dict[str, Any] = {"model_name": name, "model_version": "1", "outputs": outputs}
        if "id" in value and "swallow-id" not in faults:
            body["id"] = value["id"]
        text = json.dumps(body).encode()
        binary = any("parameters" in item for item in outputs)
        fields = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
        return self.compressed(text + raw, fields if binary else {})

    def data(self, tensor: Tensor) -> list[Any]:
        values = tensor.texts()
        if tensor.datatype.startswith("FP"):
            bad = any(not math.isfinite(value) for value in values)
            demand(not bad or "nan-literal" in self.service.faults, "NaN has no JSON form")
            if "rounded" in self.service.faults:
                return [round(value, 2) for value in values]
        return values

    def compressed(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        accepted = self.headers.get("accept-encoding", "")
        coding = "gzip" if "always-gzip" in self.service.faults else accepted
        if coding == "gzip":
            return 200, gzip.compress(body), {**headers, "content-encoding": "gzip"}
        if coding == "deflate":
            return 200, zlib.compress(body), {**headers, "content-encoding": "deflate"}
        return 200, body, headers
