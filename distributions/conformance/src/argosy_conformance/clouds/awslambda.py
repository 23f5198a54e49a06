"""AWS Lambda: the container is the client. The suite is the Runtime API at the URL, and hands out events."""

import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from argosy_conformance.check import Failed, Skipped, check
from argosy_conformance.clouds import calls
from argosy_conformance.expect import that
from argosy_conformance.subject import Subject

BASE = "/2018-06-01/runtime"
START = 60.0
"""Seconds until the container must have asked for its first event; Lambda's own limit is 10."""


class RuntimeApi(ThreadingHTTPServer):
    """Events go out one by one; an answer is the path below the base, and a JSON value."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _Handler)
        self.events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.asked = threading.Event()
        self.count = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def ask(self, event: Any) -> tuple[str, dict[str, Any]]:
        """Hand out an event; `response` or `error`, and the answer, an object. Raises Failed, Skipped."""
        if not self.asked.wait(START):
            raise Skipped(f"no container asked for an event within {START:.0f} s (AWS_LAMBDA_RUNTIME_API)")
        self.count += 1
        id = f"event-{self.count}"
        self.events.put((id, event if isinstance(event, bytes) else json.dumps(event).encode()))
        try:
            path, answer = self.answers.get(timeout=30)
        except queue.Empty:
            raise Failed(f"{event!r} was not answered within 30 s") from None
        _, kind, seen, verb = ("/" + path).rsplit("/", 3)
        that((kind, seen) == ("invocation", id), f"the answer came to {path}, expected /invocation/{id}")
        that(isinstance(answer, dict), f"the answer of {id} is no object: {answer!r}")
        return verb, answer

    def close(self) -> None:
        """End."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        api = cast("RuntimeApi", self.server)
        api.asked.set()
        id, body = api.events.get()
        self.send_response(200)
        self.send_header("lambda-runtime-aws-request-id", id)
        self.send_header("lambda-runtime-deadline-ms", str(int(time.time() * 1000) + 60_000))
        self.send_header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:f")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        api = cast("RuntimeApi", self.server)
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()
        try:
            value = json.loads(data)
        except ValueError:
            value = data
        api.answers.put((self.path.removeprefix(BASE), value))


def api(subject: Subject) -> RuntimeApi:
    if subject.runtime_api is None:
        raise Skipped("the suite listens nowhere")
    return cast("RuntimeApi", subject.runtime_api)


def rows(subject: Subject) -> list[Any]:
    if subject.rows_given is None:
        raise Skipped("needs rows that the model takes: give them with --rows")
    return calls.rows(subject)


@check("lambda.invoke", "an event that is rows is answered at /response with a prediction for each")
def invoke(subject: Subject) -> str | None:
    verb, answer = api(subject).ask({"instances": rows(subject)})
    that(verb == "response", f"it came to /{verb}: {answer}")
    that(len(answer.get("predictions", ())) == 2, f"saw {answer!r}")
    return None


@check("lambda.error", "an event that is no request is an /error with errorMessage and errorType; the next is answered")
def error(subject: Subject) -> str | None:
    for event in ({"nonsense": 1}, b"no json"):
        verb, answer = api(subject).ask(event)
        that(verb == "error", f"{event!r} came to /{verb}: {answer}")
        that({"errorMessage", "errorType"} <= set(answer), f"saw {answer!r}")
    return invoke(subject)


@check("lambda.gateway", "an event of API Gateway, 1.0 and 2.0, is answered as a request")
def gateway(subject: Subject) -> str | None:
    body = json.dumps({"instances": rows(subject)})
    headers = {"content-type": "application/json"}
    path = subject.routes.get("predict", "/invocations")
    second: dict[str, Any] = {"version": "2.0", "rawPath": path, "requestContext": {"http": {"method": "POST"}}}
    first: dict[str, Any] = {"httpMethod": "POST", "path": path, "requestContext": {"stage": "prod"}}
    for event in (first, second):
        verb, answer = api(subject).ask({**event, "headers": headers, "body": body, "isBase64Encoded": False})
        that(verb == "response", f"it came to /{verb}: {answer}")
        that(answer.get("statusCode") == 200, f"statusCode is {answer.get('statusCode')!r}: {answer}")
        that(len(json.loads(answer["body"])["predictions"]) == 2, f"the body is {answer['body'][:100]}")
    return None


@check("lambda.gateway_error", "a request at a path that is not there is a response with statusCode 404")
def gateway_error(subject: Subject) -> str | None:
    event: dict[str, Any] = {
        "httpMethod": "GET",
        "path": "/no-such-path",
        "requestContext": {},
        "headers": None,
        "body": None,
    }
    verb, answer = api(subject).ask(event)
    that(verb == "response" and answer.get("statusCode") == 404, f"it came to /{verb}: {answer}")
    return None
