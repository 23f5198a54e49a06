"""A registry in this process that behaves as it is told: tokens that expire, small chunks, lies, broken bodies."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


class Fake(ThreadingHTTPServer):
    """What it does otherwise is in its attributes; `asked` are the requests that came. A context manager."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.asked: list[Asked] = []
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.login = ""
        """USER:PASSWORD that its token service wants; "" for anybody."""
        self.bearer = False
        self.service = "fake"
        self.uses = 0
        """Requests that a token is good for; 0 for any number."""
        self.tokens: dict[str, int] = {}
        self.most_patch = 0
        self.referrers = True
        self.mounts = True
        self.busy: list[tuple[int, dict[str, str]]] = []
        """What is answered to the next requests instead."""
        self.warning = ""
        self.least = ""
        self.told = ""
        """Docker-Content-Digest of every manifest."""
        self.given: dict[str, bytes] = {}
        """Bytes that are given for a digest instead of its own."""
        self.cut: list[int] = []
        """Bytes after which the next bodies of blobs break off."""
        self.ranges = True
        self.elsewhere = ""
        """Where blobs are redirected to."""
        self.pause: Callable[[], object] | None = None
        """Called in the middle of every body of a blob."""
        self.lost: list[int] = []
        """Chunks, by number, whose answer never comes."""
        self.scattered, self.mounted = False, list[Asked]()
        """Whether HEAD finds no blob, as if another repository had it; the mounts that were done."""
        self.unmade = False
        """Whether repositories must be made before a push."""
        self.quota = 0
        """Blobs of which one more is refused; 0 for any number."""

    def __enter__(self) -> "Fake":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def add(self, repository: str, name: str, media_type: str, data: bytes) -> str:
        """Have a manifest at a tag and at its digest."""
        for each in (name, digest_of(data)):
            self.manifests[repository, each] = media_type, data
        return digest_of(data)

    def sent(self, method: str) -> list[Asked]:
        return [each for each in self.asked if each.method == method]

    def handle_error(self, *_: object) -> None:
        """A client that is gone is none."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Fake

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        fake, body = self.server, self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, url.path, parse_qs(url.query), headers, body)
        fake.asked.append(asked)
        if url.path == "/token":
            return self._token(asked)
        if fake.busy:
            return self._say(*fake.busy.pop(0))
        if fake.bearer and not self._admitted(headers.get("authorization", "")):
            challenge = f'Bearer realm="http://{fake.host}/token",service="{fake.service}",scope="x"'
            return self._say(401, {"WWW-Authenticate": challenge}, errors("UNAUTHORIZED", "who are you"))
        if url.path == "/v2/":
            return self._say(200, {"Warning": f'299 - "{fake.warning}"'} if fake.warning else {})
        for pattern, answer in ROUTES:
            if found := re.fullmatch(pattern, url.path):
                return answer(self, asked, *found.groups())
        return self._say(404)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815

    def _token(self, asked: Asked) -> None:
        fake = self.server
        basic = asked.headers.get("authorization", "").removeprefix("Basic ")
        if fake.login and base64.b64decode(basic).decode() != fake.login and asked.method == "GET":
            return self._say(401)
        token = f"t{len(fake.tokens)}"
        fake.tokens[token] = fake.uses
        return self._say(200, {}, json.dumps({"token": token}).encode())

    def _admitted(self, authorization: str) -> bool:
        token = authorization.removeprefix("Bearer ")
        if token not in self.server.tokens:
            return False
        self.server.tokens[token] -= 1
        return self.server.tokens[token] != -1 if self.server.uses else True

    def _say(self, status: int, headers: dict[str, str] | None = None, data: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):
                self.wfile.write(data)

    def manifest(self, asked: Asked, repository: str, name: str) -> None:
        fake = self.server
        if asked.method == "PUT":
            if fake.unmade:
                return self._say(404, {}, errors("NAME_UNKNOWN", "The repository does not exist"))
            kind = asked.headers["content-type"]
            digest = fake.add(repository, name, kind, asked.body)
            subject = json.loads(asked.body).get("subject", {}).get("digest")
            told = {"OCI-Subject": subject} if subject and fake.referrers else {}
            return self._say(201, {"Docker-Content-Digest": fake.told or digest, **told})
        if (repository, name) not in fake.manifests:
            return self._say(404, {}, errors("MANIFEST_UNKNOWN", "manifest unknown"))
        kind, data = fake.manifests[repository, name]
        told = {"Docker-Content-Digest": fake.told} if fake.told else {}
        return self._say(200, {"Content-Type": f"{kind}; charset=utf-8", **told}, data)

    def referring(self, asked: Asked, repository: str, digest: str) -> None:
        """One entry a page."""
        fake = self.server
        if not fake.referrers:
            return self._say(404)
        found: list[dict[str, Any]] = []
        for (place, name), (kind, data) in fake.manifests.items():
            read = json.loads(data)
            if place == repository and name == digest_of(data) and read.get("subject", {}).get("digest") == digest:
                kind_of = read.get("artifactType") or read["config"]["mediaType"]
                found.append({"mediaType": kind, "digest": name, "size": len(data), "artifactType": kind_of})
        page = int(asked.query.get("page", ["0"])[0])
        more = {"Link": f'<{asked.path}?page={page + 1}>; rel="next"'} if page + 1 < len(found) else {}
        body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found[page : page + 1]}
        return self._say(200, {"Content-Type": INDEX, **more}, json.dumps(body).encode())

    def blob(self, asked: Asked, _repository: str, digest: str) -> None:
        fake = self.server
        if digest not in fake.blobs or (fake.scattered and asked.method == "HEAD"):
            return self._say(404)
        if fake.elsewhere:
            return self._say(307, {"Location": f"{fake.elsewhere}{asked.path}"})
        data = fake.given.get(digest, fake.blobs[digest])
        start, status, headers = 0, 200, dict[str, str]()
        if fake.ranges and "range" in asked.headers:
            start, status = int(asked.headers["range"].removeprefix("bytes=").rstrip("-")), 206
            headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        data = data[start:]
        if self.command == "HEAD":
            return self._say(200, {"Content-Length": str(len(data))})
        count = fake.cut.pop(0) if fake.cut else len(data) // 2 if fake.pause else len(data)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(data[:count])
            if fake.pause:
                fake.pause()
                self.wfile.write(data[count:])
            elif count < len(data):
                self.close_connection = True
        return None

    def begin(self, asked: Asked, repository: str) -> None:
        fake = self.server
        if fake.unmade:
            return self._say(404, {}, errors("NAME_UNKNOWN", "The repository does not exist"))
        if fake.quota and len(fake.blobs) >= fake.quota:
            return self._say(403, {}, errors("DENIED", "the quota of the project is used up"))
        if fake.mounts and "mount" in asked.query and asked.query.get("mount", [""])[0] in fake.blobs:
            fake.mounted.append(asked)
            return self._say(201)
        name = f"u{len(fake.uploads)}"
        fake.uploads[name] = bytearray()
        least = {"OCI-Chunk-Min-Length": fake.least} if fake.least else {}
        return self._say(202, {"Location": f"/v2/{repository}/blobs/uploads/{name}?state=a%3D", **least})

    def upload(self, asked: Asked, repository: str, name: str) -> None:
        fake = self.server
        if name not in fake.uploads or asked.query.get("state") != ["a="]:
            return self._say(404, {}, errors("BLOB_UPLOAD_UNKNOWN", "no such upload"))
        held = fake.uploads[name]
        if asked.method == "PUT":
            held += asked.body
            wanted = asked.query["digest"][0]
            if digest_of(held) != wanted:
                return self._say(400, {}, errors("DIGEST_INVALID", "other bytes"))
            fake.blobs[wanted] = bytes(held)
            return self._say(201)
        if asked.method == "PATCH":
            start = int(asked.headers["content-range"].partition("-")[0])
            if start != len(held) or (fake.most_patch and len(asked.body) > fake.most_patch):
                return self._say(416)
            held += asked.body
            if fake.lost and len(fake.sent("PATCH")) == fake.lost[0]:
                fake.lost.pop(0)
                self.close_connection = True
                return self.connection.close()
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{name}?state=a%3D"}
        return self._say(202 if asked.method == "PATCH" else 204, headers | {"Range": f"0-{max(len(held) - 1, 0)}"})

    def tags(self, asked: Asked, repository: str) -> None:
        found = [tag for place, tag in self.server.manifests if place == repository and ":" not in tag]
        return self._say(200, {}, json.dumps({"name": repository, "tags": found or None}).encode())


def errors(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()


ROUTES = (
    (r"/v2/(.+)/manifests/([^/]+)", Handler.manifest),
    (r"/v2/(.+)/referrers/([^/]+)", Handler.referring),
    (r"/v2/(.+)/blobs/(sha256:[^/]+)", Handler.blob),
    (r"/v2/(.+)/blobs/uploads/", Handler.begin),
    (r"/v2/(.+)/blobs/uploads/([^/]+)", Handler.upload),
    (r"/v2/(.+)/tags/list", Handler.tags),
)
