"""A small server of every contract, which answers the sum of each row, with faults to be found. It shares no code with
Argosy's server."""

import contextlib
import csv
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from argosy_conformance.clouds import calls

ROWS = [[1.0, 2.0], [3.0, 5.0]]
PREDICT = {
    "sagemaker": "/invocations",
    "vertex": "/v1/endpoints/0/deployedModels/0:predict",
    "azureml": "/score",
    "cloudrun": "/invocations",
    "huggingface": "/",
    "kserve": "/v1/models/m:predict",
    "mlflow": "/invocations",
}
HEALTH = {
    "sagemaker": ("/ping",),
    "vertex": ("/v1/endpoints/0/deployedModels/0",),
    "azureml": ("/",),
    "cloudrun": ("/health",),
    "huggingface": ("/health",),
    "kserve": ("/v2/health/live",),
    "mlflow": ("/ping", "/health", "/version"),
}


class Bad(Exception):
    pass


def rows_of(kind, body, faults):
    if "csv" in kind and "no-csv" not in faults:
        return list(csv.reader(body.decode().splitlines()))
    if "jsonlines" in kind:
        return [json.loads(line) for line in body.splitlines()]
    if kind and "json" not in kind:
        raise Bad(415)
    outer = json.loads(body)
    if not isinstance(outer, dict):
        raise Bad(400)
    if outer.get("parameters", {}) not in ({}, None) or ("parameters" in outer and "no-parameters" in faults):
        raise Bad(400)
    if "dataframe_split" in outer and "no-split" not in faults:
        return outer["dataframe_split"]["data"]
    found = outer.get("instances") or outer.get("inputs") or outer.get("input_data")
    if not isinstance(found, list):
        raise Bad(400)
    return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, value=b"", kind="application/json", **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return b"" if "no-chunks" in self.server.faults else found
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def do_GET(self):
        contract, faults, models = self.server.contract, self.server.faults, self.server.models
        if "strict-host" in faults and "example" in self.headers.get("host", ""):
            self.reply(403)
        elif self.path in HEALTH[contract]:
            self.reply(503 if "unhealthy" in faults else 200, b"1.0" if self.path == "/version" else b"", "text/plain")
        elif self.path == "/execution-parameters" and contract == "sagemaker":
            strategy = "Multi" if "bad-parameters" in faults else "MULTI_RECORD"
            self.reply(200, {"MaxConcurrentTransforms": 1, "BatchStrategy": strategy, "MaxPayloadInMB": 6})
        elif self.path == "/models":
            listed = {name: "/elsewhere" if "bad-list" in faults else url for name, url in models.items()}
            self.reply(200, {"models": [{"modelName": name, "modelUrl": url} for name, url in listed.items()]})
        elif (name := self.path.removeprefix("/models/")) in models:
            self.reply(200, {"modelName": name, "modelUrl": models[name]})
        elif contract == "kserve" and self.path == "/v1/models":
            self.reply(200, {"models": [] if "no-names" in faults else ["m"]})
        elif contract == "kserve" and self.path == "/v1/models/m":
            self.reply(200, {"name": "m", "ready": True})
        else:
            self.reply(404, {"error": "nothing here"})

    def do_DELETE(self):
        self.reply(200 if self.server.models.pop(self.path.removeprefix("/models/"), None) else 404)

    def do_POST(self):
        body, models, faults = self.body(), self.server.models, self.server.faults
        if self.path == "/models":
            asked = json.loads(body)
            if asked["model_name"] in models and "load-twice" not in faults:
                self.reply(409, {"error": "loaded"})
            else:
                models[asked["model_name"]] = asked["url"]
                self.reply(200, {})
        elif self.answers(faults):
            self.predict(body)
        else:
            self.reply(404, {"error": "nothing here"})

    def answers(self, faults):
        if self.path.endswith("/invoke"):
            return self.path.split("/")[2] in self.server.models or "ghosts" in faults
        return self.path == PREDICT[self.server.contract] and not self.server.multi

    def predict(self, body):
        faults = self.server.faults
        try:
            if len(body) > 1_000_000 and "small" in faults:
                raise Bad(413)
            rows = rows_of(self.headers.get("content-type", ""), body, faults)
            if any(isinstance(row, dict) for row in rows):
                raise Bad(400)
            found = [sum(map(float, row)) for row in rows]
        except Bad as bad:
            self.reply(bad.args[0], {"error": "bad"} if "no-code" in faults else {"error_code": "B", "message": "bad"})
            return
        except Exception:
            self.reply(500 if "crashes" in faults else 400, {"error_code": "B", "message": "bad"})
            return
        if "reversed" in faults:
            found.reverse()
        if "one-for-all" in faults:
            found = found[:1]
        echo = {"x_amzn_sagemaker_custom_attributes": "another"} if "bad-echo" in faults else {}
        if "csv" in self.headers.get("accept", "") or "jsonlines" in self.headers.get("accept", ""):
            lines = "".join(f"{value}\n" for value in found).encode()
            self.reply(200, lines.replace(b"\n", b" ") if "one-line" in faults else lines, "text/csv", **echo)
        else:
            kind = "text/plain" if "plain" in faults else "application/json"
            self.reply(200, found if "bare" in faults else {"predictions": found}, kind, **echo)


class Server(ThreadingHTTPServer):
    request_queue_size = 64


@contextlib.contextmanager
def fake(contract, faults=(), multi=False):
    """The URL of a server of a contract that has these faults."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.contract, server.faults, server.models, server.multi = contract, frozenset(faults), {}, multi
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Function:
    """A container of Lambda's, in a thread: it asks the Runtime API for events and sums their rows."""

    def __init__(self, url, fault=""):
        self.base, self.fault, self.ended = f"{url}/2018-06-01/runtime", fault, False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True

    def call(self, path, value=None):
        data = None if value is None else json.dumps(value).encode()
        return urllib.request.urlopen(urllib.request.Request(self.base + path, data), timeout=30)

    def run(self):
        while not self.ended:
            try:
                with self.call("/invocation/next") as got:
                    id, body = got.headers["lambda-runtime-aws-request-id"], got.read()
                verb, answer = self.answer(body)
                if self.fault == "wrong-id":
                    id = "another"
                self.call(f"/invocation/{id}/{verb}", answer).close()
            except OSError:
                time.sleep(0.02)

    def answer(self, body):
        try:
            event = json.loads(body)
            if "requestContext" not in event:
                return "response", self.predict(event)
            if not (event.get("rawPath") or event["path"]).startswith("/invocations"):
                return "response", {"statusCode": 404, "body": ""}
            if self.fault == "no-gateway":
                return "response", self.predict(event)
            return "response", {"statusCode": 200, "body": json.dumps(self.predict(json.loads(event["body"])))}
        except Exception as error:
            verb = "response" if self.fault == "hides-errors" else "error"
            return verb, {"errorMessage": str(error), "errorType": "E"}

    def predict(self, event):
        return {"predictions": [sum(row) for row in event["instances"]]}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second that a cloud gives a server for its health is that of a machine which does nothing else."""
    asked = calls.healthy
    monkeypatch.setattr(calls, "healthy", lambda subject, path, seconds: asked(subject, path, 60.0))
