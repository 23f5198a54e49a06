"""The pages of models: every version with its signature, golden examples, lineage, licence and aliases."""

import asyncio

import msgspec
from starlette.responses import Response

from argosy.console.pages import Console, PageRequest
from argosy.protocol import tensorfile
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound
from argosy.spec.signing import matches
from argosy.spec.tensor import Tensor
from argosy.store.store import Store
from argosy.store.version import Version
from argosy.trust import policy

GOLDEN_ROWS = 8
GOLDEN_VALUES = 12


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """The first golden examples as text: tensor names, and for each row a cell for each tensor; why not, if not."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    trouble: str = ""


async def every(console: Console, ask: PageRequest) -> Response:
    """Every model."""
    found = await asyncio.to_thread(console.services.store.registry.models)
    serving: dict[str, list[str]] = {}
    for status in console.services.controller.view.endpoints.values():
        serving.setdefault(status.serving.partition(":")[0], []).append(status.name)
    return console.render(ask, "models.html", models=found, serving=serving)


async def one(console: Console, ask: PageRequest) -> Response:
    """The versions of a model, the newest first."""
    registry, name = console.services.store.registry, ask.path["name"]
    versions = await asyncio.to_thread(registry.versions, name)
    moves = await asyncio.to_thread(registry.history, name)
    return console.render(
        ask, "model.html", name=name, versions=versions[::-1], moves=moves[::-1][:50], serving=_serving(console)
    )


def _serving(console: Console) -> dict[str, list[str]]:
    """Version → the endpoints it serves."""
    found: dict[str, list[str]] = {}
    for status in console.services.controller.view.endpoints.values():
        found.setdefault(status.serving, []).append(status.name)
    return found


async def version(console: Console, ask: PageRequest) -> Response:
    """One version."""
    number = ask.path["number"]
    if not number.isdecimal():
        raise InvalidArgument(f"'{number[:20]}' is no version number")
    found = await asyncio.to_thread(console.services.store.registry.resolve, f"{ask.path['name']}:{number}")
    store = console.services.store
    try:
        golden, lineage = await asyncio.to_thread(lambda: (_golden(store, found), store.lineage(found.digest)))
    except ArgosyError as error:
        golden, lineage = Golden(trouble=error.message), [found.lineage]
    signed = await asyncio.to_thread(_signed, console, found)
    return console.render(
        ask, "version.html", one=found, golden=golden, lineage=lineage, serving=_serving(console), signed=signed
    )


def _signed(console: Console, found: Version) -> list[str]:
    """Who signed it, and what that is worth here."""
    known, layout = console.services.settings.signatures, console.services.store.layout
    try:
        verdicts = policy.of_version(known, layout, found.digest, found.name)
    except ArgosyError as error:
        return [error.message]
    return policy.described(verdicts, matches(known.require, found.name))


def _golden(store: Store, found: Version) -> Golden:
    layout, files = store.layout, store.layout.files(found.digest)
    try:
        inputs, outputs = (
            tensorfile.parse(layout.read(files[f"golden/{side}.oip"]), side) for side in ("inputs", "outputs")
        )
    except KeyError:
        raise NotFound("this package has no golden examples") from None
    tensors = [*inputs, *outputs]
    count = min([GOLDEN_ROWS, *(len(each.array) for each in tensors if each.shape)])
    return Golden(
        inputs=tuple(each.name for each in inputs),
        outputs=tuple(each.name for each in outputs),
        rows=tuple(tuple(_cell(each, row) for each in tensors) for row in range(count)),
    )


def _cell(tensor: Tensor, row: int) -> str:
    values = tensor.array[row].reshape(-1) if tensor.array.ndim > 1 else tensor.array[row : row + 1]
    shown = [_value(each) for each in values[:GOLDEN_VALUES].tolist()]
    return "  ".join(shown) + (f"  … {len(values)} in all" if len(values) > GOLDEN_VALUES else "")


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return repr(value.decode(errors="replace")[:40])
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:40]
