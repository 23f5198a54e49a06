"""A sender of OTLP over HTTP: one connection, kept open, one attempt. Blocks; for a thread of its own."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

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
