"""Labels through the gateway of a real platform, by the client, with the key that predictions need."""

import asyncio
import os
import stat
from collections.abc import Callable

import httpx
import msgspec
import numpy as np
import pytest

from argosy.client import AsyncClient, Client
from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback.folder import LabelFolder
from argosy.spec.errors import InvalidArgument, PayloadTooLarge, PermissionDenied, Unauthenticated
from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import push
from tests.platform.up import Up


def kept(home: Home, endpoint: str) -> int:
    return intake.seal(LabelFolder(home.feedback, endpoint))


@pytest.mark.slow
def test_the_holder_of_one_key_does_not_use_up_what_others_may_send(home: Home, store: Store, start: Callable[..., Up]):
    push(store, home.root / "p1", 1.0)
    platform = start().ready()
    made = platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1"}, wait=60)
    url, greedy = made["url"].partition("/v2/")[0], made["key"]
    honest = platform.call("POST", "/v1/keys", {"name": "honest", "scopes": ["digits"]})["key"]
    labels = [{"request_id": f"{n:0250}", "label": 1, "source": "s" * 1024} for n in range(750)]
    body, path = msgspec.json.encode({"labels": labels}), f"{url}/v2/models/digits/feedback"
    with httpx.Client(headers={"x-api-key": greedy, "x-argosy-key-id": "somebody-else"}, timeout=60) as client:
        found = [client.post(path, content=body) for _ in range(80)]
    statuses = [each.status_code for each in found]
    assert statuses == sorted(statuses)
    assert set(statuses) == {200, 429}
    assert "its share" in found[-1].json()["error"]
    with Client(url, honest) as client:
        assert client.feedback("digits", {"a": 1})["taken"] == 1
    answer = httpx.post(path, content=body, headers={"x-api-key": honest}, timeout=60)
    assert answer.json()["taken"] == 750


@pytest.mark.slow
async def test_labels_come_through_the_gateway(home: Home, store: Store, start: Callable[..., Up]):
    push(store, home.root / "p1", 1.0)
    platform = await asyncio.to_thread(start().ready)

    def deploy(name: str, **more: object) -> tuple[str, str]:
        made = platform.call("PUT", f"/v1/endpoints/{name}", {"model": "digits:1", **more}, wait=60)
        return made["url"].partition("/v2/")[0], made.get("key") or ""

    url, key = await asyncio.to_thread(deploy, "digits")
    _, other = await asyncio.to_thread(deploy, "other")
    await asyncio.to_thread(deploy, "open", public=True)

    def ask() -> None:
        with Client(url, key) as client:
            told = client.feedback("digits", {"a": np.int64(1), "b": "cat", "c": True, "d": np.float32(0.5)})
            assert told == {"taken": 4, "refused": []}
            told = client.feedback(
                "digits", [{"request_id": "a", "label": 1, "row": 2}, {"request_id": "", "label": 1}]
            )
            assert (told["taken"], [each["index"] for each in told["refused"]]) == (1, [1])
            with pytest.raises(PermissionDenied, match="does not cover endpoint 'other'"):
                client.feedback("other", {"a": 1})
            with pytest.raises(PermissionDenied):
                client.feedback("open", {"a": 1})
            with pytest.raises(InvalidArgument, match="unknown"):
                client.feedback("digits", [{"request_id": "a", "label": 1, "colour": 2}])
            with pytest.raises(InvalidArgument, match="numbers, texts and truth values"):
                client.feedback("digits", {"a": np.zeros(3)})
            with pytest.raises(PayloadTooLarge):
                client.feedback("digits", {f"{n:0200}": n for n in range(9999)})
        with Client(url) as nobody:
            for name in ("digits", "open"):
                with pytest.raises(Unauthenticated):
                    nobody.feedback(name, {"a": 1})
        for key_of, name in ((other, "digits"), (key, "digits/versions/1")):
            answer = httpx.post(f"{url}/v2/models/{name}/feedback", json={}, headers={"x-api-key": key_of})
            assert answer.status_code in (403, 404)
        assert httpx.get(f"{url}/v2/models/digits/feedback", headers={"x-api-key": key}).status_code == 405
        assert (kept(home, "digits"), kept(home, "other"), kept(home, "open")) == (5, 0, 0)
        assert stat.S_IMODE(os.stat(home.run / "labels.sock").st_mode) == 0o600

    await asyncio.to_thread(ask)
    async with AsyncClient(url, key) as client:
        assert (await client.feedback("digits", {"x": 1}))["taken"] == 1
        platform.kill()
        waiting = asyncio.create_task(client.feedback("digits", {"y": 1}))
        again = await asyncio.to_thread(start().ready)
        assert (await waiting)["taken"] == 1
    assert await asyncio.to_thread(kept, home, "digits") == 2
    assert again.process.poll() is None
