"""Confirmation of what was written."""

import pytest

from argosy.gateway import subscriptions as module
from argosy.gateway.subscriptions import Refused
from argosy.spec.errors import Unavailable
from tests.gateway.kit import http, one


async def test_an_unnoticed_rename_is_done_again(gateway, replica, monkeypatch):
    a = await replica("a")
    await gateway.start()
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    replace = gateway.files._replace
    lost = []

    def lose_the_first(file, written):
        if file == "rds.json" and not lost:
            lost.append(written.version_info)
        else:
            replace(file, written)

    monkeypatch.setattr(gateway.files, "_replace", lose_the_first)
    await gateway.apply([one(a, auth=False)])
    assert lost
    async with await http(gateway) as client:
        assert (await client.get("/v2/models/digits")).status_code == 200


async def test_what_is_never_taken_up_is_named(gateway, replica, monkeypatch):
    a = await replica("a")
    await gateway.start()
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.2)
    monkeypatch.setattr(gateway.files, "_replace", lambda file, written: None)
    with pytest.raises(Unavailable, match=r"has not taken up cds\.json"):
        await gateway.apply([one(a, auth=False)])


async def test_a_file_that_is_no_json_is_refused(gateway):
    await gateway.start()
    before = await gateway.subscriptions.states()
    wanted = {"rds.json": gateway.files.get("rds.json").version_info + "0"}
    broken = gateway.files.folder / "broken"
    broken.write_text("{")
    broken.replace(gateway.files.folder / "rds.json")
    with pytest.raises(Refused, match=r"rds\.json"):
        await gateway.subscriptions._taken_up(wanted, before, 0)
