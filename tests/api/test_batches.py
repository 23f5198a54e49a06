"""OpenAI's files and batches by the unmodified client, through a real gateway to an engine that stands in."""

import asyncio
import json
import time
from types import SimpleNamespace

import msgspec
import openai
import pytest

from argosy.api.batches import routes
from argosy.api.labels import LabelServer
from argosy.gateway.gateway import Gateway
from argosy.jobs import batches as room
from argosy.jobs.batches import Batches
from argosy.jobs.files import Files
from tests.gateway.conftest import config, folder
from tests.gateway.kit import KEY, api_key
from tests.gateway.test_language import MESSAGES, model
from tests.language.fake_engine import running

__all__ = ["config", "folder"]
CHAT = "/v1/chat/completions"
DAY = 24 * 3600


def line(id, url=CHAT, **fields):
    body = {"model": "gemma", "messages": MESSAGES, "max_tokens": 3} | fields
    return json.dumps({"custom_id": id, "method": "POST", "url": url, "body": body})


class Stand:
    """A gateway with the platform's part of batches behind it, over one folder."""

    def __init__(self, config, folder, engine):
        self.gateway = Gateway(msgspec.structs.replace(config, labels=str(folder / "l.sock"), batches=True))
        self.folder, self.models = folder, [model(engine), model(engine, "other")]
        self.keys = [api_key(), api_key("second", id="k2", scopes=("gemma",))]
        self.later, self.tasks, self.clock = 0.0, [], lambda: time.time() + self.later

    def known(self):
        hashes = self.batches.hashes()
        return [msgspec.structs.replace(each, also=hashes.get(each.id, "")) for each in self.keys]

    async def begin(self):
        changed = asyncio.Event()
        self.batches = Batches(Files(self.folder / "b", self.clock), self.gateway.url, changed.set, clock=self.clock)
        self.batches.load()
        place = SimpleNamespace(labels=self.folder / "l.sock")
        self.server = LabelServer(place, None, routes(self.batches))

        async def follow():
            while await changed.wait():
                changed.clear()
                await self.gateway.apply(self.models, self.known())

        self.tasks = [asyncio.create_task(each) for each in (self.server.run(), self.batches.run(), follow())]
        self.server.task = self.tasks[0]

    async def end(self):
        for task in self.tasks[1:]:
            task.cancel()
        await self.server.stop()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def client(self, key=KEY):
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        return openai.AsyncOpenAI(base_url=f"{await self.gateway.url()}/v1", api_key=key, http_client=http)


@pytest.fixture
def engine(tmp_path):
    with running(tmp_path / "e.sock") as fake:
        yield fake


@pytest.fixture
async def stand(config, folder, engine):
    stand = Stand(config, folder, engine)
    await stand.begin()
    await stand.gateway.start(stand.models, stand.known())
    yield stand
    await stand.end()
    await stand.gateway.stop(0.2)


async def submit(ai, *lines, endpoint=CHAT, **more):
    file = await ai.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    return await ai.batches.create(
        input_file_id=file.id, endpoint=endpoint, **{"completion_window": "24h", "metadata": {"a": "b"}} | more
    )


async def until(ai, batch, *states):
    async with asyncio.timeout(60):
        while (found := await ai.batches.retrieve(batch.id)).status not in states:
            await asyncio.sleep(0.05)
    return found


async def content(ai, id):
    return [json.loads(each) for each in (await ai.files.content(id)).text.splitlines()]


async def test_files_are_kept_for_their_key_alone(stand):
    async with await stand.client() as ai, await stand.client("second") as other:
        data = bytes(range(256)) * 300 + b"\r\n--x\r\n"
        made = await ai.files.create(file=("a b.jsonl", data), purpose="batch")
        assert (made.filename, made.bytes, made.purpose) == ("a b.jsonl", len(data), "batch")
        assert made.expires_at == made.created_at + 30 * DAY
        assert (await ai.files.content(made.id)).content == data
        assert await ai.files.retrieve(made.id) == made
        more = [await ai.files.create(file=b"", purpose="batch") for _ in range(2)]
        assert {each.id async for each in ai.files.list(limit=1)} == {made.id, *(each.id for each in more)}
        assert [each.id async for each in other.files.list()] == []
        for ask in (other.files.retrieve, other.files.content, other.files.delete):
            with pytest.raises(openai.NotFoundError):
                await ask(made.id)
        with pytest.raises(openai.BadRequestError, match="purpose"):
            await ai.files.create(file=b"x", purpose="assistants")
        assert (await ai.files.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError, match="no file"):
            await ai.files.retrieve("secret")
    async with await stand.client("nobody") as ai:
        with pytest.raises(openai.AuthenticationError):
            await ai.files.list()
    assert len(list((stand.folder / "b").glob("file-*.data"))) == 2
    assert [each.name for each in (stand.folder / "b").iterdir() if not each.suffix] == []


async def test_each_request_has_one_line_in_one_of_the_two_files(stand, engine):
    async with await stand.client() as ai:
        good = [line(f"r{n}") for n in range(40)]
        bad = line("long", messages=[{"role": "user", "content": "x" * 100}], fake={"context": 10})
        batch = await submit(ai, *good[:20], bad, line("else", model="nobody"), "", *good[20:])
        assert batch.status in {"validating", "in_progress"}
        done = await until(ai, batch, "completed")
        counts = done.request_counts
        assert (counts.total, counts.completed, counts.failed) == (42, 40, 2)
        assert done.metadata == {"a": "b"}
        rows = await content(ai, done.output_file_id)
        assert sorted(row["custom_id"] for row in rows) == sorted(f"r{n}" for n in range(40))
        assert {row["response"]["body"]["choices"][0]["message"]["content"] for row in rows} == {"w0 w1 w2"}
        assert len({row["id"] for row in rows}) == 40
        errors = {row["custom_id"]: row["response"] for row in await content(ai, done.error_file_id)}
        assert (errors["long"]["status_code"], errors["else"]["status_code"]) == (400, 404)
        assert "context size" in errors["long"]["body"]["error"]["message"]
        assert (await ai.files.retrieve(done.output_file_id)).purpose == "batch_output"
        embedding = {
            "custom_id": "e",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": "gemma", "input": "a"},
        }
        done = await until(ai, await submit(ai, json.dumps(embedding), endpoint="/v1/embeddings"), "completed")
        assert len((await content(ai, done.output_file_id))[0]["response"]["body"]["data"]) == 1
        with pytest.raises(openai.ConflictError):
            await ai.batches.cancel(done.id)
    assert stand.batches.hashes() == {}


async def test_a_batch_runs_with_what_its_key_may_do(stand):
    async with await stand.client("second") as ai, await stand.client() as other:
        batch = await submit(ai, line("mine"), line("not", model="other"))
        done = await until(ai, batch, "completed")
        (refused,) = await content(ai, done.error_file_id)
        assert refused["response"]["status_code"] == 403
        assert refused["response"]["body"]["error"]["code"] == "permission_denied"
        assert [each.id async for each in other.batches.list()] == []
        for ask in (other.batches.retrieve, other.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                await ask(batch.id)
        with pytest.raises(openai.NotFoundError):
            await other.files.content(done.output_file_id)
        with pytest.raises(openai.NotFoundError):
            await other.batches.create(input_file_id=done.input_file_id, endpoint=CHAT, completion_window="24h")


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        ((line("a"), "{"), "invalid_json_line", 2),
        ((line("a"), line("b"), line("a")), "duplicate_custom_id", 3),
        ((line("a", url="/v1/embeddings"),), "mismatched_endpoint", 1),
        ((line("a", stream=True),), "invalid_request", 1),
        ((), "invalid_size", 0),
    ],
    ids=["json", "twice", "endpoint", "stream", "empty"],
)
async def test_an_input_that_is_not_good_is_refused_whole(stand, engine, lines, code, number):
    async with await stand.client() as ai:
        failed = await until(ai, await submit(ai, *lines), "failed")
        assert [(each.code, each.line) for each in failed.errors.data] == [(code, number)]
        assert failed.output_file_id is failed.error_file_id is None
    assert engine.told()["requests"] == 0


async def test_what_was_answered_before_a_cancel_is_kept(stand):
    async with await stand.client() as ai:
        slow = [line(f"s{n}", fake={"delay": 60}) for n in range(20)]
        batch = await submit(ai, line("quick"), *slow)
        async with asyncio.timeout(60):
            while not (await ai.batches.retrieve(batch.id)).request_counts.completed:
                await asyncio.sleep(0.05)
        with pytest.raises(openai.ConflictError, match="under way"):
            await ai.with_options(max_retries=0).files.delete(batch.input_file_id)
        assert (await ai.batches.cancel(batch.id)).status == "cancelling"
        done = await until(ai, batch, "cancelled")
        assert [row["custom_id"] for row in await content(ai, done.output_file_id)] == ["quick"]
        assert (done.request_counts.completed, done.error_file_id) == (1, None)


async def test_what_is_not_answered_in_time_is_in_the_error_file(stand, monkeypatch):
    async with await stand.client() as ai:
        hung = line("hung", fake={"fault": "stall"})
        batch = await submit(ai, line("quick"), hung)
        async with asyncio.timeout(60):
            while not (await ai.batches.retrieve(batch.id)).request_counts.completed:
                await asyncio.sleep(0.05)
        await stand.end()
        stand.later = DAY + 1.0
        await stand.begin()
        done = await until(ai, batch, "expired")
        (missed,) = await content(ai, done.error_file_id)
        assert (missed["custom_id"], missed["response"], missed["error"]["code"]) == ("hung", None, "batch_expired")
        stand.later = 32.0 * DAY
        monkeypatch.setattr(room, "TICK", 0.05)
        await stand.end()
        await stand.begin()
        async with asyncio.timeout(60):
            while [each async for each in ai.files.list()]:
                await asyncio.sleep(0.05)


async def test_one_that_was_cut_off_goes_on_behind_what_is_whole(stand, engine):
    async with await stand.client() as ai:
        batch = await submit(ai, *(line(f"r{n}", fake={"each": 0.05}) for n in range(60)))
        async with asyncio.timeout(60):
            while (await ai.batches.retrieve(batch.id)).request_counts.completed < 10:
                await asyncio.sleep(0.02)
        await stand.end()
        spool = stand.folder / "b" / f"{batch.id}.out"
        before = spool.read_bytes()
        spool.write_bytes(before + b'{"custom_id": "torn", "respon')
        await stand.begin()
        done = await until(ai, batch, "completed")
        data = (await ai.files.content(done.output_file_id)).content
        assert data.startswith(before)
        ids = [json.loads(each)["custom_id"] for each in data.splitlines()]
        assert sorted(ids) == sorted(f"r{n}" for n in range(60))
        assert done.request_counts.completed == 60
    assert engine.told()["requests"] < 60 + 20


async def test_a_batch_of_a_key_that_is_revoked_fails(stand, engine, monkeypatch):
    async with await stand.client("second") as ai:
        batch = await submit(ai, *(line(f"s{n}", fake={"delay": 2.0}) for n in range(40)))
        async with asyncio.timeout(60):
            while not engine.told()["requests"]:  # the gateway knows the batch's key
                await asyncio.sleep(0.02)
        monkeypatch.setattr(room, "REFUSALS", 2)
        del stand.keys[1]
        await stand.gateway.apply(stand.models, stand.known())
        async with asyncio.timeout(60):
            while stand.batches.get(batch.id, "k2").status != "failed":
                await asyncio.sleep(0.05)
    assert stand.batches.get(batch.id, "k2").errors["data"][0]["code"] == "invalid_api_key"
