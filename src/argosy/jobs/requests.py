"""A batch of requests as OpenAI's clients know it, and its lines, which a platform that starts anew goes on behind."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import msgspec

from argosy.jobs.files import Files

MOST_LINES, MOST_ERRORS = 50_000, 10

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
OVER = ("failed", "completed", "expired", "cancelled")


class Wanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
    completion_window: Literal["24h"] = "24h"
    metadata: Annotated[dict[str, str], msgspec.Meta(max_length=16)] | None = None


class Batch(Wanted, kw_only=True):
    """One with the fields that OpenAI's clients know, its owner's key, and when it came to which state (`moved`)."""

    id: str
    object: Literal["batch"] = "batch"
    errors: dict[str, Any] | None = None
    status: Status = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    expires_at: int
    moved: dict[str, int] = {}
    request_counts: dict[str, int] = msgspec.field(default_factory=lambda: {"total": 0, "completed": 0, "failed": 0})
    key: str


class BatchLine(msgspec.Struct, frozen=True):
    custom_id: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    method: Literal["POST"]
    url: str
    body: dict[str, msgspec.Raw]


class Lines:
    """The lines of a batch: its requests, and answers in the order in which they came. Blocking."""

    def __init__(self, files: Files, batch: Batch) -> None:
        self._files, self.batch = files, batch

    def check(self) -> tuple[int, list[dict[str, Any]]]:
        """How many requests the input has, and what is wrong with it."""
        errors: list[dict[str, Any]] = []
        seen, number = set[str](), 0

        def wrong(code: str, message: str) -> None:
            errors.append({"code": code, "line": number, "message": message, "param": None})

        for number, raw in enumerate(self._raw(), 1):
            if len(errors) >= MOST_ERRORS or number > MOST_LINES:
                break
            try:
                line = msgspec.json.decode(raw, type=BatchLine)
                model = msgspec.json.decode(line.body.get("model", b"null"), type=str)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                wrong("invalid_json_line", f"this is no request with custom_id, method, url and body.model: {error}")
                continue
            if line.url != self.batch.endpoint:
                wrong("mismatched_endpoint", f"the line asks {line.url[:80]}, the batch is for {self.batch.endpoint}")
            elif line.custom_id in seen:
                wrong("duplicate_custom_id", f"custom_id '{line.custom_id[:80]}' is there twice")
            elif not model or bytes(line.body.get("stream", b"")) == b"true":
                wrong("invalid_request", "body.model is empty, or body.stream is true: nobody reads a stream here")
            seen.add(line.custom_id)
        if not 0 < number <= MOST_LINES:
            wrong("invalid_size", f"the input has no lines, or more than {MOST_LINES}")
        return number, errors

    def _raw(self) -> Iterator[bytes]:
        with self._files.data(self.batch.input_file_id).open("rb") as file:
            yield from (line for line in file if line.strip())

    def left(self, done: set[str]) -> Iterator[BatchLine]:
        for raw in self._raw():
            line = msgspec.json.decode(raw, type=BatchLine)
            if line.custom_id not in done:
                yield line

    def resume(self) -> set[str]:
        """Whose answers are written; a line that was begun when the machine stopped is taken away."""
        done = set[str]()
        for kind, count in (("out", "completed"), ("err", "failed")):
            spool, before, whole = self.spool(kind), len(done), 0
            if spool.exists():
                with spool.open("rb+") as file:
                    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                        while (raw := file.readline()).endswith(b"\n"):
                            done.add(msgspec.json.decode(raw, type=dict[str, Any])["custom_id"])
                            whole = file.tell()
                    file.truncate(whole)
            self.batch.request_counts[count] = len(done) - before
        return done

    def write(self, done: set[str], line: BatchLine, answer: httpx.Response | None, error: Any = None) -> None:
        good, response = answer is not None and answer.status_code == 200, None
        if answer is not None:
            try:
                body: Any = msgspec.Raw(msgspec.json.format(answer.content, indent=-1))
            except msgspec.MsgspecError:
                body = answer.text
            request = answer.headers.get("x-request-id", "")
            response = {"status_code": answer.status_code, "request_id": request, "body": body}
        id = hashlib.sha256(f"{self.batch.id} {line.custom_id}".encode()).hexdigest()[:24]
        row = {"id": f"batch_req_{id}", "custom_id": line.custom_id, "response": response, "error": error}
        with self.spool("out" if good else "err").open("ab") as file:
            file.write(msgspec.json.encode(row) + b"\n")
        done.add(line.custom_id)
        self.batch.request_counts["completed" if good else "failed"] += 1

    def file_id(self, kind: str) -> str:
        return f"file-{hashlib.sha256(f'{self.batch.id} {kind}'.encode()).hexdigest()[:24]}"

    def spool(self, kind: str) -> Path:
        """Where lines are written; after the end, and where a platform was killed at that, the caller's file."""
        data = self._files.data(self.file_id(kind))
        return data if data.exists() else self._files.folder / f"{self.batch.id}.{kind}"
