"""An incident, and a small web server that takes what is sent to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from argosy.alerting.incident import Finding, Incident, Notice


def notice(kind="firing", since=1.8e9, severity="page", title="slow & <late>", ended=None) -> Notice:
    finding = Finding(
        endpoint="digits",
        kind="slo",
        subject="latency",
        severity=severity,
        title=title,
        reason="2 % were bad <@all>",
    )
    return Notice(kind=kind, incident=Incident(finding=finding, since=since, seen=since, ended=ended, told=severity))


class Web:
    """Answers with `statuses` one after the other, then with 200. `seen` has path, headers and body of each request."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""

    @property
    def bodies(self) -> list:
        return [msgspec.json.decode(body) for _, _, body in self.seen]


@contextmanager
def web() -> Iterator[Web]:
    told = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(told.statuses.pop(0) if told.statuses else 200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
