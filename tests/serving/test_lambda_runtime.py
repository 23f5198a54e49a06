"""Lambda's Runtime API: a server that hands out events, and what it gets back."""

import base64
import contextlib
import json
import queue
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from argosy.serving import contracts
from argosy.serving.lambda_runtime import LambdaApp, report_failure
from argosy.serving.lambda_runtime import RuntimeApi as RuntimeApiClient
from tests.serving.test_contracts import Sum

BASE = "/2018-06-01/runtime"


class RuntimeApi(ThreadingHTTPServer):
    """`events` are handed out one by one; `answers` are (path below the base, body)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.events, self.answers = queue.Queue(), queue.Queue()
        self.deadline = int(time.time() * 1000) + 60_000
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def ask(self, event):
        self.events.put(event)
        return self.answers.get(timeout=60)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        assert self.path == f"{BASE}/invocation/next"
        event = self.server.events.get()
        if event is None:
            self.close_connection = True
            return
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.send_response(200)
        self.send_header("lambda-runtime-aws-request-id", "id-1")
        self.send_header("lambda-runtime-deadline-ms", str(self.server.deadline))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.answers.put((self.path.removeprefix(BASE), json.loads(body)))


@pytest.fixture
def api():
    with contextlib.closing(RuntimeApi()) as server:
        server.close = server.server_close
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.events.put(None)
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def ask(api, run_replica):
    binding = contracts.bind("lambda", {}, lambda path: False)
    running = run_replica({"sum": Sum()}, make_app=partial(LambdaApp, binding=binding, api=api.address), grpc=False)
    yield api.ask
    running.stop()


def test_an_event_is_the_body_of_an_invocation(ask):
    assert ask({"instances": [[1, 2]]}) == ("/invocation/id-1/response", {"predictions": [3.0]})
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    path, answer = ask({"inputs": [tensor]})
    assert (path, answer["outputs"][0]["data"]) == ("/invocation/id-1/response", [3.0])


def test_what_cannot_be_answered_is_an_error_of_the_event(ask):
    path, answer = ask({"nothing": 1})
    assert (path, answer["errorType"]) == ("/invocation/id-1/error", "HTTP400")
    assert "nothing" in answer["errorMessage"]
    assert ask(b"no json")[0] == "/invocation/id-1/error"
    assert ask([[1, 2]])[1] == {"predictions": [3.0]}, "the loop goes on"


def test_an_event_of_a_gateway_is_a_request(ask):
    context = {"http": {"method": "POST"}, "stage": "live"}
    event = {"version": "2.0", "rawPath": "/live/v1/models/sum:predict", "requestContext": context, "headers": {}}
    path, answer = ask(event | {"body": '{"instances": [[1, 2]]}', "isBase64Encoded": False})
    assert path == "/invocation/id-1/response"
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"predictions": [3.0]})
    assert answer["headers"]["content-type"] == "application/json"
    first = {"httpMethod": "POST", "path": "/", "requestContext": {"stage": "live"}}
    body = base64.b64encode(b"1,2\n").decode()
    headers = {"Content-Type": "text/csv", "Accept": "text/csv"}
    _, answer = ask(first | {"headers": headers, "body": body, "isBase64Encoded": True})
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (200, "3.0\n", False)
    _, answer = ask(first | {"path": "/nothing", "headers": None, "body": None})
    assert answer["statusCode"] == 404
    _, answer = ask(first | {"body": "!", "isBase64Encoded": True})
    assert answer["errorType"] == "InvalidArgument"


def test_a_binary_answer_goes_as_base64(ask):
    event = {"httpMethod": "POST", "path": "/", "requestContext": {}, "body": "[[1, 2]]"}
    _, answer = ask(event | {"headers": {"accept": "application/x-npy"}})
    assert answer["isBase64Encoded"]
    assert base64.b64decode(answer["body"]).startswith(b"\x93NUMPY")


def test_an_event_has_the_time_that_is_left(api, ask):
    api.deadline = int(time.time() * 1000) - 1
    assert ask([[1, 2]])[1] == {"predictions": [3.0]}, "a clock that differs refuses nothing"


def test_who_has_stopped_waits_for_no_event(api):
    waiting = RuntimeApiClient(api.address)
    waiting.close()
    with pytest.raises(ConnectionAbortedError):
        waiting.next()


def test_a_start_that_fails_is_reported(api):
    report_failure(api.address, ValueError("no model"))
    assert api.answers.get(timeout=60) == ("/init/error", {"errorMessage": "no model", "errorType": "ValueError"})
    report_failure("127.0.0.1:1", ValueError("nobody hears"))
