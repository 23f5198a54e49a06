"""The style sheet and the scripts, from the wheel."""

from starlette.requests import Request
from starlette.responses import Response

from argosy.console.pages import HEADERS, HERE

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
FILES = {path.name: path for path in (HERE / "static").iterdir() if path.suffix in KINDS}


async def serve(request: Request) -> Response:
    """A file by its name. They are the same for everybody, and asked for again only when the version is another."""
    path = FILES.get(request.path_params["name"])
    if path is None:
        return Response("there is no such file", 404, HEADERS, "text/plain")
    headers = HEADERS | {"cache-control": "private, max-age=86400"}
    return Response(path.read_bytes(), 200, headers, f"{KINDS[path.suffix]}; charset=utf-8")
