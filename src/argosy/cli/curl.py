"""Commands to copy that ask a model with a row of its golden examples, in each form that it takes."""

import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from argosy.cli.keys import find
from argosy.spec.address import server_of
from argosy.spec.errors import ArgosyError
from argosy.spec.settings import home

if TYPE_CHECKING:
    from argosy.packaging.package import Package

MOST = 1500
"""Bytes of a body: more is no use in a terminal."""


def calls(package: "Package", base: str, name: str) -> list[tuple[str, str]]:
    """What each way is called, and its command, for a server at `base`; none where no row is short and has a form in
    JSON."""
    from argosy.protocol.rest import Request, encode_request
    from argosy.protocol.rows import first_row

    row = example(package)
    if row is None:
        return []
    signature = package.manifest.signature
    found = [("rows by column name", curl(f"{base}/invocations", [row] if signature.batched else {"inputs": row}))]
    if signature.batched:
        columns = {"inputs": {name: [value] for name, value in row.items()}}
        split = {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
        arrays = any(isinstance(value, list) for value in row.values())
        found.append(("MLflow", curl(f"{base}/invocations", columns if arrays else split)))
    body = {"instances": [row]} if signature.batched else {"inputs": row}
    found.append(("KServe V1", curl(f"{base}/v1/models/{name}:predict", body)))
    text, _ = encode_request(Request(first_row(package.golden_inputs(), signature.batched)), binary=False)
    found.append(("Open Inference Protocol (V2)", curl(f"{base}/v2/models/{name}/infer", msgspec.Raw(text))))
    return found


def endpoint_call(digest: str, name: str, url: str, public: bool) -> str:
    """The command that asks an endpoint at this URL with a row of its model, if this store has that; else how
    `argosy predict` does. Of a language model, how to chat with it and what OpenAI's clients read."""
    from argosy.client.local import stored_package
    from argosy.packaging.package import open_package

    asked = f"argosy predict {name} -d @rows.json"
    try:
        package = open_package(stored_package(digest).folder)
    except ArgosyError:
        return asked
    root, key = server_of(url), f"$(argosy keys show {name})" if find(home(), name) else "$KEY"
    if package.manifest.generates:
        exports = f"export OPENAI_BASE_URL={root}/v1\nexport OPENAI_API_KEY={'none' if public else key}"
        return f"argosy chat {name}\n{exports}"
    if (row := example(package)) is None:
        return asked
    base = f"{root}/endpoints/{name}"
    body = [row] if package.manifest.signature.batched else {"inputs": row}
    return curl(f"{base}/invocations", body, "" if public else f' -H "Authorization: Bearer {key}"')


def example(package: "Package") -> dict[str, Any] | None:
    """A row by column name that is short and has a form in JSON."""
    from argosy.protocol.rows import record

    try:
        row = record(package.golden_inputs(), package.manifest.signature)
    except ArgosyError:
        return None
    short = len(msgspec.json.encode(row)) <= MOST
    binary = any(spec.datatype in ("FP16", "BF16") for spec in package.manifest.signature.inputs)
    return row if short and not binary else None


def curl(url: str, body: Any, headers: str = "") -> str:
    """A command that posts this as JSON."""
    text = msgspec.json.encode(body).decode()
    return f"curl -s {url}{headers} -H 'Content-Type: application/json' -d {shlex.quote(text)}"
