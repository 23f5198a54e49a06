"""`/v1/files` and `/v1/batches` of OpenAI's API, which come through the gateway as labels do: see `labels.py`."""

import asyncio
import inspect
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute

from argosy.api.application import answered, as_json, read_body
from argosy.gateway.model import check_token
from argosy.jobs.batches import Batches
from argosy.jobs.files import File, Files
from argosy.jobs.requests import Batch, Wanted
from argosy.serving.internal_headers import KEY
from argosy.spec import strict
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, openai_error
from argosy.store import durable

MOST_BYTES = 128 * 1024 * 1024
"""Of an upload; the gateway has its own bound (`gateway.max_body_bytes`)."""
AT_ONCE, UPLOAD = 2, 600.0
"""Uploads that are under way, and the seconds that one may take."""
Handler = Callable[[Request, str], Any]


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a list is wanted."""

    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20
    order: Literal["asc", "desc"] = "desc"
    purpose: str = ""


def routes(batches: Batches) -> Sequence[BaseRoute]:
    """The routes over these batches and their files."""
    files, uploads = batches.files, asyncio.Semaphore(AT_ONCE)

    async def upload(request: Request, key: str) -> Any:
        async with uploads:
            data, kind = await read_body(request, MOST_BYTES, UPLOAD), request.headers.get("content-type", "")
            with durable.storage(files.folder):
                return await asyncio.to_thread(take, files, data, kind, key)

    def content(request: Request, key: str) -> Any:
        return FileResponse(files.data(files.get(request.path_params["id"], key).id))

    def delete(request: Request, key: str) -> Any:
        found = files.get(request.path_params["id"], key)
        if batches.in_use(found.id):
            raise Conflict("a batch that is under way reads this file: cancel it first")
        files.delete(found.id)
        return {"id": found.id, "object": "file", "deleted": True}

    async def create(request: Request, key: str) -> Any:
        return batches.create(strict.decode(await read_body(request), Wanted, "the body"), key)

    return [
        _route("/v1/files", "POST", upload),
        _route("/v1/files", "GET", lambda request, key: listed(files.of(key), request)),
        _route("/v1/files/{id}", "GET", lambda request, key: files.get(request.path_params["id"], key)),
        _route("/v1/files/{id}", "DELETE", delete),
        _route("/v1/files/{id}/content", "GET", content),
        _route("/v1/batches", "POST", create),
        _route("/v1/batches", "GET", lambda request, key: listed(batches.of(key), request)),
        _route("/v1/batches/{id}", "GET", lambda request, key: batches.get(request.path_params["id"], key)),
        _route("/v1/batches/{id}/cancel", "POST", lambda request, key: batches.cancel(request.path_params["id"], key)),
    ]


def take(files: Files, data: bytes, kind: str, key: str) -> File:
    """The file in a form. Raises InvalidArgument, PayloadTooLarge, StorageFull."""
    found = {field: (name, data[start:stop]) for field, name, start, stop in parts(data, kind)}
    given = {field: value[:100].decode("utf-8", "replace") for field, (_, value) in found.items()}
    if found.keys() != {"file", "purpose"} or given["purpose"] != "batch":
        raise InvalidArgument("send the parts `file` and `purpose`, which is 'batch', and no others")
    name, value = found["file"]
    files.check_room(key, len(value))
    part = files.folder / secrets.token_hex(16)
    part.write_bytes(value)
    id = f"file-{secrets.token_hex(12)}"
    return files.add(id, part, key=key, name=name[:255], purpose="batch")


def _route(path: str, method: str, handle: Handler) -> BaseRoute:
    """For whoever's key the gateway names; errors have OpenAI's shape."""

    async def answer(request: Request) -> Response:
        try:
            found = handle(request, check_token(request.headers.get(KEY, ""), "the key's id"))
            found = await found if inspect.isawaitable(found) else found
            return found if isinstance(found, Response) else as_json(shown(found))
        except ArgosyError as error:
            wait = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
            return as_json(openai_error(error.message, error.http, error.code), error.http, wait)

    return answered(path, method, answer)


def shown(record: Any) -> dict[str, Any]:
    """As its owner sees it."""
    fields: dict[str, Any] = msgspec.to_builtins(record)
    fields.pop("key", None)
    return fields | fields.pop("moved", {})


def listed(found: Sequence[File] | Sequence[Batch], request: Request) -> dict[str, Any]:
    """One page of a list, which is newest first. Raises InvalidArgument."""
    page = strict.convert(dict(request.query_params), Page, "the query", strict=False)
    rows = [shown(each) for each in found if not page.purpose or getattr(each, "purpose", "") == page.purpose]
    rows = rows if page.order == "desc" else rows[::-1]
    ids = [row["id"] for row in rows]
    if page.after:
        if page.after not in ids:
            raise InvalidArgument(f"after: the list has no '{page.after[:80]}'")
        rows = rows[ids.index(page.after) + 1 :]
    part = rows[: page.limit]
    return {"object": "list", "data": part, "has_more": len(rows) > len(part)}


def parts(data: bytes, content_type: str) -> Iterator[tuple[str, str, int, int]]:
    """Name, file name, beginning and end of each part of a form. Raises InvalidArgument."""
    found = re.search(r'^multipart/form-data;.*boundary="?([^";]{1,70})"?', content_type, re.IGNORECASE)
    if found is None:
        raise InvalidArgument("the body is no form: send multipart/form-data with the parts `file` and `purpose`")
    mark = b"--" + found[1].encode()
    at = data.find(mark)
    while at >= 0 and data[at + len(mark) : at + len(mark) + 2] == b"\r\n":
        start = data.find(b"\r\n\r\n", at) + 4
        stop = data.find(b"\r\n" + mark, start)
        if start < 4 or stop < 0:
            break
        head = data[at + len(mark) : min(start, at + 4096)].decode("utf-8", "replace")
        names = dict(re.findall(r'[; ](name|filename)="([^"\r\n]*)"', head))
        yield names.get("name", ""), names.get("filename", ""), start, stop
        at = stop + 2
    if at < 0 or data[at + len(mark) : at + len(mark) + 2] != b"--":
        raise InvalidArgument("the form in the body has no end")
