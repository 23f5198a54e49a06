"""What devices fetch over HTTP: plans of the packages that are theirs, blobs and ranges of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from argosy.api import transfers
from argosy.api.transfers import DeviceTransfers
from argosy.edge import delta
from argosy.edge.wire import SESSION, TransferPlan
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound, Unavailable
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.edge.test_delta import InProcess
from tests.store.samples import FILES, model_manifest, write_folder

WEIGHTS = bytes(range(256)) * 1000


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DeviceTransfers, str, str]]:
    """Transfers, and two packages."""
    monkeypatch.setattr(delta, "Child", InProcess)
    store = open_store(Home(tmp_path / "home"), Settings())
    digests = [
        store.layout.put_folder(
            write_folder(tmp_path / str(at), FILES | {"weights/model.onnx": data}), manifest=model_manifest()
        )
        for at, data in enumerate((WEIGHTS, b"metadata" + WEIGHTS))
    ]
    found = DeviceTransfers(store)
    yield found, *digests
    found.close()
    store.close()


@pytest.fixture
async def client(device: tuple[DeviceTransfers, str, str]) -> AsyncIterator[httpx.AsyncClient]:
    transfers, old, new = device

    async def blob(request: Request) -> Response:
        try:
            return await transfers.blob([old, new], request.path_params["name"], request)
        except ArgosyError as error:
            return JSONResponse({"error": error.message}, error.http)

    transport = httpx.ASGITransport(Starlette(routes=[Route("/blobs/{name}", blob)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
        yield client


async def planned(device: tuple[DeviceTransfers, str, str], have: str = "") -> TransferPlan:
    found, old, new = device
    found.ways.plan(new, [each for each in have.split(",") if each])
    return await found.plan([old, new], new, have)


async def test_a_plan_and_its_blobs(device: tuple[DeviceTransfers, str, str], client: httpx.AsyncClient) -> None:
    plan = await planned(device, device[1])
    ((name, ways),) = plan.files.items()
    whole = (await client.get(f"/blobs/{ways[0].blob}")).content
    assert len(whole) == ways[0].size
    part = await client.get(f"/blobs/{ways[0].blob}", headers={"range": "bytes=3-9"})
    assert (part.status_code, part.content) == (206, whole[3:10])
    assert part.headers["content-range"] == f"bytes 3-9/{len(whole)}"
    assert (await client.get(f"/blobs/{name}", headers={"range": "bytes=0-7"})).content == b"metadata"
    beyond = await client.get(f"/blobs/{name}", headers={"range": "bytes=99999999-"})
    assert beyond.status_code == 416
    several = await client.get(f"/blobs/{name}", headers={"range": "bytes=0-1,5-6"})
    assert several.status_code == 400


@pytest.mark.parametrize(
    ("name", "status"), [("0" * 64, 404), ("full.json", 400), ("..%2F..%2Fargosy.db", 404), ("A" * 64, 400)]
)
async def test_other_blobs(client: httpx.AsyncClient, name: str, status: int) -> None:
    assert (await client.get(f"/blobs/{name}")).status_code == status


async def test_packages_of_others(device: tuple[DeviceTransfers, str, str]) -> None:
    found, old, new = device
    with pytest.raises(NotFound, match="no update of this device"):
        await found.plan([old], new)
    await planned(device)
    found.ways.plan(new, [transfers.UNKNOWN])
    plan = await found.plan([new], new, old)
    assert all(way.kind != "patch" for ways in plan.files.values() for way in ways)


@pytest.mark.parametrize("have", ["sha256:no", "../x", ",".join(["sha256:" + "1" * 64] * 5)])
async def test_what_a_device_may_say_it_has(device: tuple[DeviceTransfers, str, str], have: str) -> None:
    found, _, new = device
    with pytest.raises(InvalidArgument):
        await found.plan([new], new, have)


async def test_while_ways_are_made(device: tuple[DeviceTransfers, str, str]) -> None:
    found, _, new = device
    with pytest.raises(Unavailable, match="come again"):
        await found.plan([new], new)


async def test_too_many_at_once(
    device: tuple[DeviceTransfers, str, str], client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = await planned(device)
    name = next(iter(plan.files))
    with monkeypatch.context() as patched:
        patched.setattr(transfers, "STREAMS", 0)
        assert (await client.get(f"/blobs/{name}")).status_code == 503
    device[0]._open |= dict.fromkeys(range(transfers.EACH), "mine")
    assert (await client.get(f"/blobs/{name}", headers={SESSION: "mine"})).status_code == 503
    assert (await client.get(f"/blobs/{name}", headers={SESSION: "another"})).status_code == 200
    assert len(device[0]._open) == transfers.EACH
