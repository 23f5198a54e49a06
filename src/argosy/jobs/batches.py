"""Runs batches of requests against endpoints that run: see `requests.py`.

Requests go through the gateway in the name of the caller's key: its scopes, its rate and its tokens hold for them."""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import msgspec

from argosy.jobs.files import KEPT, MOST, Files
from argosy.jobs.requests import OVER, Batch, BatchLine, Lines, Status, Wanted
from argosy.spec.errors import Conflict, NotFound, RateLimited, Unauthenticated
from argosy.store import durable

LOG = logging.getLogger(__name__)
AT_ONCE, ALL_AT_ONCE, MOST_OPEN = 8, 16, 20
"""Requests of one batch that are under way, and of all; batches of one key that are."""
TRIES, REFUSALS, LONGEST_PAUSE = 4, 10, 5.0
"""Times that a request is sent which fails, and which is refused as if its key were revoked: the gateway may not know
of it yet. One that was not begun is sent until its batch expires."""
REQUEST_SECONDS, TICK, WINDOW = 3600.0, 5.0, 24 * 3600

LOST = {"code": "connection_lost", "message": "the connection was lost each time"}


class Batches:
    """The batches of one home, in the folder of their `files`. `reach` tells the gateway's address, once it listens,
    and `changed` is called when other keys have batches under way: see `hashes`."""

    def __init__(
        self,
        files: Files,
        reach: Callable[[], Awaitable[str]],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.files, self._reach, self._changed, self._clock = files, reach, changed, clock
        self._found: dict[str, Batch] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(ALL_AT_ONCE)
        self._secret = b""

    def load(self) -> None:
        """Read what an earlier platform left."""
        self.files.load()
        path = self.files.folder / "secret.key"
        if not path.exists():
            durable.replace(path, secrets.token_bytes(32), self.files.folder, mode=0o600)
        self._secret = path.read_bytes()
        read = (msgspec.json.decode(each.read_bytes(), type=Batch) for each in self.files.folder.glob("batch_*.json"))
        self._found = {each.id: each for each in read}

    def hashes(self) -> Mapping[str, str]:
        """By the id of each key with a batch under way, the hash of what the gateway takes for that key as well."""
        keys = {each.key for each in self._found.values() if each.status not in OVER}
        return {key: hashlib.sha256(self._text(key).encode()).hexdigest() for key in keys}

    def _text(self, key: str) -> str:
        return f"ab_{key}_{hmac.new(self._secret, key.encode(), hashlib.sha256).hexdigest()}"

    def get(self, id: str, key: str) -> Batch:
        """Raises NotFound, also for a batch of another key."""
        found = self._found.get(id)
        if found is None or found.key != key:
            raise NotFound(f"there is no batch '{id[:80]}' of this key")
        return found

    def of(self, key: str) -> list[Batch]:
        """Those of a key, newest first."""
        return sorted((each for each in self._found.values() if each.key == key), key=lambda each: -each.created_at)

    def create(self, wanted: Wanted, key: str) -> Batch:
        """Begin one. Raises NotFound (no such file), RateLimited (too many at once)."""
        self.files.get(wanted.input_file_id, key)
        own = self.of(key)
        if sum(each.status not in OVER for each in own) >= MOST_OPEN or len(own) >= MOST:
            raise RateLimited(f"a key has {MOST_OPEN} batches under way and {MOST} in {KEPT // 86400} days at the most")
        now, id = int(self._clock()), f"batch_{secrets.token_hex(12)}"
        batch = Batch(id=id, **msgspec.structs.asdict(wanted), created_at=now, expires_at=now + WINDOW, key=key)
        self._save(batch)
        self._found[id] = batch
        self._begin(batch)
        return batch

    def cancel(self, id: str, key: str) -> Batch:
        """End one; what it has answered is kept. Raises NotFound, Conflict (it is over)."""
        batch = self.get(id, key)
        if batch.status in (*OVER, "finalizing"):
            raise Conflict(f"the batch cannot be cancelled: it is {batch.status}")
        self._move(batch, "cancelling")
        if task := self._working.get(id):
            task.cancel()
        return batch

    def in_use(self, file: str) -> bool:
        """Whether a batch under way reads the file."""
        return any(each.input_file_id == file and each.status not in OVER for each in self._found.values())

    async def run(self) -> None:
        """Go on with what is not over, remove what is old, until cancelled."""
        try:
            while True:
                for batch in [each for each in self._found.values() if each.status not in OVER]:
                    self._begin(batch)
                for file in [each for each in self.files.expired() if not self.in_use(each)]:
                    self.files.delete(file)
                for old in [each for each in self._found.values() if each.status in OVER]:
                    if old.created_at + WINDOW + KEPT < self._clock():
                        del self._found[old.id]
                        (self.files.folder / f"{old.id}.json").unlink()
                await asyncio.sleep(TICK)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._tasks.clear()

    def _begin(self, batch: Batch) -> None:
        if batch.id not in self._tasks or self._tasks[batch.id].done():
            self._changed()
            self._tasks[batch.id] = asyncio.create_task(self._do(batch))

    async def _do(self, batch: Batch) -> None:
        try:
            await self._go_on(batch)
        except Exception:
            LOG.exception("batch %s failed; it is tried again", batch.id)
        if batch.status in OVER:
            del self._tasks[batch.id]
            self._changed()

    async def _go_on(self, batch: Batch) -> None:
        """From whatever state it is in to its end."""
        if batch.status == "validating":
            total, errors = await asyncio.to_thread(Lines(self.files, batch).check)
            if errors:
                batch.errors = {"object": "list", "data": errors}
                return self._move(batch, "failed")
            batch.request_counts["total"] = total
            if batch.status == "validating":  # else it was cancelled meanwhile
                self._move(batch, "in_progress")
        if batch.status != "finalizing":
            lines = Lines(self.files, batch)
            await self._work(lines, await asyncio.to_thread(lines.resume))
        if batch.status == "in_progress":
            self._move(batch, "finalizing")
        return await asyncio.to_thread(self._finish, batch)

    async def _work(self, lines: Lines, done: set[str]) -> None:
        """Until all is answered, the time is over, the key is revoked or it is cancelled."""
        batch = lines.batch
        self._working[batch.id] = work = asyncio.create_task(self._answer_all(lines, done))
        if batch.status == "cancelling":
            work.cancel()
        try:
            async with asyncio.timeout(max(0.0, batch.expires_at - self._clock())):
                await work
        except TimeoutError:
            batch.moved.setdefault("expired_at", int(self._clock()))
            self._save(batch)
            for line in lines.left(done):
                lines.write(done, line, None, {"code": "batch_expired", "message": "the completion window is over"})
        except asyncio.CancelledError:
            if batch.status != "cancelling":
                raise
        finally:
            del self._working[batch.id]

    async def _answer_all(self, lines: Lines, done: set[str]) -> None:
        batch, left = lines.batch, lines.left(done)
        # This machine is reached at its own address: whatever name is on the gateway's certificate.
        context: Any = {
            "base_url": await self._reach(),
            "verify": False,
            "timeout": REQUEST_SECONDS,
            "trust_env": False,
        }
        async with httpx.AsyncClient(**context, headers={"x-api-key": self._text(batch.key)}) as client:

            async def work() -> None:
                for line in left:
                    answer = await self._ask(client, batch.endpoint, line)
                    lines.write(done, line, answer, LOST if answer is None else None)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(AT_ONCE):
                        group.create_task(work())
            except* Unauthenticated:
                error = {"code": "invalid_api_key", "message": "the key of this batch is revoked", "line": None}
                batch.errors = {"object": "list", "data": [error]}

    async def _ask(self, client: httpx.AsyncClient, path: str, line: BatchLine) -> httpx.Response | None:
        """The answer, None where the connection is lost each time. What was not begun, for want of replicas, tokens or
        the gateway, is asked for again and again."""
        failed, pause, body = 0, 0.2, msgspec.json.encode(line.body)
        while True:
            answer, status, waits = None, 0, False
            try:
                async with self._turns:
                    answer = await client.post(path, content=body, headers={"content-type": "application/json"})
            except httpx.TransportError as error:
                waits = isinstance(error, httpx.ConnectError)
            else:
                status = answer.status_code
                waits = status == 429 or (status == 503 and b'"service_unavailable"' in answer.content)
                if answer.headers.get("x-should-retry") == "false" or not (waits or status == 401 or status >= 500):
                    return answer
            failed += not waits
            if status == 401 and failed == REFUSALS:
                raise Unauthenticated("the key of this batch is revoked")
            if status != 401 and failed == TRIES:
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _finish(self, batch: Batch) -> None:
        """What was written becomes files of the caller's. May be done again."""
        lines = Lines(self.files, batch)
        for kind, name in (("out", "output"), ("err", "error")):
            id, spool = lines.file_id(kind), lines.spool(kind)
            if spool.exists():
                self.files.add(id, spool, key=batch.key, name=f"{batch.id}_{name}.jsonl", purpose="batch_output")
                setattr(batch, f"{name}_file_id", id)
        final: Status = "expired" if "expired_at" in batch.moved else "completed"
        final = "failed" if batch.errors else "cancelled" if batch.status == "cancelling" else final
        self._move(batch, final)

    def _move(self, batch: Batch, status: Status) -> None:
        batch.status = status
        batch.moved[f"{status}_at"] = int(self._clock())
        self._save(batch)

    def _save(self, batch: Batch) -> None:
        durable.replace(
            self.files.folder / f"{batch.id}.json", msgspec.json.encode(batch), self.files.folder, mode=0o600
        )
