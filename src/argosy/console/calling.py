"""What a visitor of an endpoint wants first: what it takes, calls to copy, and a form that asks it."""

import shlex

import msgspec

from argosy.console.pages import Console
from argosy.gateway.admin import Admin
from argosy.protocol import tensorfile
from argosy.protocol.rows import record
from argosy.spec.errors import ArgosyError, InvalidArgument, Unavailable
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.status import EndpointStatus, ReplicaStatus
from argosy.spec.tensor import Tensor
from argosy.store.version import Version

MOST_EXAMPLE = 1500
"""Characters of an example; a longer one is no help."""
MOST_ANSWER = 20_000
SECONDS = 60.0
ROWS = "/invocations"
"""Where a replica takes rows as JSON."""


class Refusal(msgspec.Struct):
    """The body of an answer that is none."""

    error: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint is called. `example` are rows as JSON, empty where there are none that are short enough; `curl`
    and `python` are calls with them, `docs` is the address of its page."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    example: str
    curl: str
    python: str
    docs: str


def call(console: Console, status: EndpointStatus) -> Call | None:
    """Of the version that serves, or will. None where its package cannot be read."""
    store = console.services.store
    try:
        version = store.registry.resolve(status.serving or status.version)
        files = store.layout.files(version.digest)
        golden = tensorfile.parse(store.layout.read(files["golden/inputs.oip"]), "inputs")
    except (ArgosyError, KeyError):
        return None
    return _call(status, version, golden)


def _call(status: EndpointStatus, version: Version, golden: list[Tensor]) -> Call:
    signature = version.manifest.signature
    example = _example(signature, golden) if signature.batched else ""
    base, key = status.url.partition("/v2/")[0], "" if status.endpoint.public else "$KEY"
    header = f' \\\n  -H "Authorization: Bearer {key}"' if key else ""
    curl = f"curl {status.url.removesuffix('/infer')}{header}"
    if example:
        curl = f"curl {base}/endpoints/{status.name}{ROWS}{header} \\\n  -d {shlex.quote(example)}"
    docs = f"{base}/endpoints/{status.name}/docs"
    client = f'argosy.Client("{base}"' + (', os.environ["KEY"])' if key else ")")
    python = ("import os\n\n" if key else "") + f"import argosy\n\nwith {client} as client:\n"
    rows = repr(msgspec.json.decode(example)) if example else "rows"
    python += f'    print(client.predict("{status.name}", {rows}))'
    return Call(
        inputs=signature.inputs, outputs=signature.every_output, example=example, curl=curl, python=python, docs=docs
    )


def _example(signature: Signature, golden: list[Tensor]) -> str:
    """The first golden row as JSON, a value for each column; empty where that is long or there is none."""
    try:
        text = msgspec.json.encode([record(golden, signature)]).decode()
    except InvalidArgument:
        return ""
    return text if len(text) <= MOST_EXAMPLE else ""


async def answer(console: Console, status: EndpointStatus, rows: str) -> tuple[bool, str]:
    """What a replica answers to rows: whether it refused them, and the text."""
    try:
        return await _answer(_replica(console, status), rows)
    except ArgosyError as error:
        return True, error.message


def _replica(console: Console, status: EndpointStatus) -> ReplicaStatus:
    ready = (each for each in console.services.controller.view.replicas if each.endpoint == status.name)
    if found := next((each for each in ready if each.phase == "ready"), None):
        return found
    raise Unavailable(f"no replica of '{status.name}' is ready")


async def _answer(replica: ReplicaStatus, rows: str) -> tuple[bool, str]:
    """Whether it failed, and the text of the answer. The replica runs somebody else's model: its text is bounded."""
    if not rows.strip():
        raise InvalidArgument("write rows as JSON: a list of objects by column")
    code, body = await Admin(replica.http, SECONDS).exchange("POST", ROWS, rows.encode())
    text = body[:MOST_ANSWER].decode("utf-8", "replace")
    try:
        if code != 200:
            return True, msgspec.json.decode(body, type=Refusal).error[:MOST_ANSWER]
        return False, msgspec.json.format(body, indent=2).decode("utf-8", "replace")[:MOST_ANSWER]
    except msgspec.MsgspecError:
        return code != 200, text
