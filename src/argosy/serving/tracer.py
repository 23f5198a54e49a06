"""Sends the spans of sampled requests to a collector, from a thread of its own. What that does not take in time is
dropped, and counted."""

import http.client
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from argosy.engines.base import require
from argosy.serving.spans import Ended, message
from argosy.serving.trace import Trail
from argosy.spec.tracing import Tracing

CONTENT = {"content-type": "application/x-protobuf", "user-agent": "argosy"}
MOST_ANSWER = 64 * 1024


class Sender:
    """Sends to one URL with these headers. `seconds` bound every wait for the collector."""

    def __init__(self, url: str, headers: Mapping[str, str], seconds: float) -> None:
        parts = urlsplit(url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {**CONTENT, **headers}
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds)

    def send(self, body: bytes) -> bool:
        """Whether the collector took it. A connection that it had closed meanwhile is opened again."""
        kept = self._connection.sock is not None
        try:
            return self._post(body)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            return kept and self._again(body)
        except (OSError, http.client.HTTPException):
            self.close()
            return False

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _again(self, body: bytes) -> bool:
        try:
            return self._post(body)
        except (OSError, http.client.HTTPException):
            self.close()
            return False

    def _post(self, body: bytes) -> bool:
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        answer.read(MOST_ANSWER)
        if not answer.isclosed():
            self.close()
        return 200 <= answer.status < 300


log = logging.getLogger("argosy.serving")

MOST = 2048
"""Requests that may wait to be sent."""
AT_ONCE = 256
GATHER_SECONDS = 1.0
EXPORT_SECONDS = 5.0
CLOSE_SECONDS = 2.0

_clock = time.perf_counter_ns


class Tracer:
    """One replica's. `about` are attributes of all its spans. Raises MissingExtra, InvalidArgument."""

    def __init__(self, tracing: Tracing, about: Mapping[str, str]) -> None:
        require("opentelemetry.proto.collector.trace.v1.trace_service_pb2", "tracing", "sending traces")
        self.sent = self.dropped = 0
        self._url, self._headers = tracing.target, tracing.secrets(os.environ)
        self._about = about
        self._ended: deque[Ended] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="tracer", daemon=True)
        self._thread.start()

    def end(self, trail: Trail, model: str, version: str, id: str, rows: int, start: int, code: str) -> None:
        """A request is over, by the code of its outcome. Never waits."""
        if len(self._ended) >= MOST:
            self.dropped += 1
            return
        now = _clock()
        self._ended.append(Ended(trail, model, version, id, rows, start, now, time.time_ns() - now, code))
        if len(self._ended) >= AT_ONCE:
            self._wake.set()

    def close(self) -> None:
        """Send what waits, for at most two seconds. Blocks."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        sender = Sender(self._url, self._headers, EXPORT_SECONDS)
        while not self._closing or self._ended:
            self._wake.wait(GATHER_SECONDS)
            self._wake.clear()
            while self._ended:
                some = [self._ended.popleft() for _ in range(min(AT_ONCE, len(self._ended)))]
                self._note(len(some), self._sent(sender, some))
        sender.close()

    def _sent(self, sender: Sender, some: Sequence[Ended]) -> bool:
        try:
            return sender.send(message(some, self._about))
        except Exception:
            log.exception("a bug kept traces from being sent")
            return False

    def _note(self, count: int, good: bool) -> None:
        if good:
            self.sent += count
        else:
            self.dropped += count
        if good == self._failing:
            self._failing = not good
            if good:
                log.info("the collector of traces at %s takes them again", self._url)
            else:
                log.warning("the collector of traces at %s takes nothing; they are dropped", self._url)
