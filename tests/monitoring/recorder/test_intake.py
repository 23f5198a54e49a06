"""What the gateway sends of language models, as rows."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.gateway.access_log import PING
from argosy.monitoring.recorder import intake
from argosy.monitoring.recorder.intake import Intake, Sent
from argosy.spec.payload import PayloadLog

MESSAGES = '[{"role":"system","content":"Be brief."},{"role":"user","content":"What is the time, ada@example.org?"}]'
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=17) | st.dictionaries(st.text(max_size=33), inner, max_size=17),
    max_leaves=20,
)


def sent(**fields: Any) -> Sent:
    """One request of version 1 of `m`."""
    payload = {
        "send": True,
        "kind": "messages",
        "prompt": MESSAGES,
        "1": "It is 3",
        "2": " o'clock.\\n",
        "id": "c-1",
    }
    payload |= fields.pop("payload", {})
    tokens = {"input": 12, "output": 7, "finish": "stop"}
    about: dict[str, Any] = {"endpoint": "m", "version": "1", "replica": "r", "status": 200, "ms": 5, "time": "1000.5"}
    return Sent(**about | {"request_id": "q", "tokens": tokens, "payload": payload} | fields)


def one(what: Sent, **log: Any) -> dict[str, Any]:
    """Its columns."""
    (found,) = intake.rows([what], {"m": PayloadLog(**log)})
    sides = {"input": found[3].inputs, "output": found[3].outputs}
    return {f"{side}.{name}": array[0] for side, arrays in sides.items() for name, array in arrays.items()}


@given(ANY, st.binary(max_size=5))
def test_a_value_ends_where_the_next_begins(value: Any, rest: bytes):
    data = msgspec.msgpack.encode(value)
    assert intake.size(data + rest) == len(data)
    assert all(intake.size(data[:at]) > at for at in range(len(data)))


def test_a_request_is_a_row():
    found = one(sent())
    assert found["input.prompt"].decode() == MESSAGES.replace("ada@example.org", "[email]")
    assert found["output.text"] == b"It is 3 o'clock.\n"
    assert (found["input.tokens"], found["input.characters"], found["input.language"]) == (12, 44, b"en")
    assert (found["output.tokens"], found["output.characters"], found["output.finish"]) == (7, 17, b"stop")
    assert (found["output.id"], found["output.cut"], found["output.label"]) == (b"c-1", False, 1)


def test_named_fields_and_patterns_are_as_declared():
    found = one(sent(), redact=("$.messages[0].content", "$.prompt"), patterns=())
    assert b"Be brief." not in found["input.prompt"]
    assert b'{"role":"system","content":"[redacted]"}' in found["input.prompt"]
    assert b"ada@example.org" in found["input.prompt"]
    answer = {"1": "Write to bob@example.org", "2": ""}
    assert one(sent(payload=answer))["output.text"] == b"Write to [email]"


def test_a_prompt_that_was_cut_says_so_and_loses_its_end():
    cut = '[{"role":"user","content":"Pay with 4111 1111 11'
    found = one(sent(payload={"prompt": cut, "cut": True}))
    assert found["output.cut"]
    assert found["input.prompt"] == b'[{"role":"user","content":"Pay with"}]'


@pytest.mark.parametrize("prompt", ["{", "[" * 50_000 + "]" * 50_000, '{"a":' * 600 + "1" + "}" * 600, "\\ud83d", ""])
def test_a_prompt_that_cannot_be_read_is_not_kept(prompt: str):
    found = one(sent(payload={"prompt": prompt}))
    assert (found["input.prompt"], found["output.cut"]) == (b"null", True)


def test_prompts_come_in_several_shapes():
    assert (
        one(sent(payload={"kind": "prompt", "prompt": '"Das ist ein Haus und nicht mehr"'}))["input.language"] == b"de"
    )
    parts = '[{"role":"user","content":[{"type":"text","text":"Où est la gare et les trains"},{"type":"image_url"}]}]'
    assert one(sent(payload={"prompt": parts}))["input.language"] == b"fr"
    assert one(sent(payload={"kind": "input", "prompt": '["ab", "c"]'}))["input.characters"] == 4
    assert one(sent(payload={"kind": "messages", "prompt": '"no list"'}))["input.characters"] == 0


def test_what_broke_off_or_failed_is_apart():
    logs = {"m": PayloadLog(sample=0.5)}
    gone = sent(flags="DC", request_id="gone", tokens={"input": 3, "output": 1})
    failed = sent(status=500, request_id="failed", tokens=None)
    parts = intake.rows([sent(), gone, failed, sent(endpoint="other"), sent(replica=None)], logs)
    found = {part[3].ids[0]: part[3] for part in parts}
    assert {name: part.requests["code"].tolist() for name, part in found.items()} == {
        "q": [200],
        "gone": [499],
        "failed": [500],
    }
    assert [found[name].requests["weight"][0] for name in ("q", "gone", "failed")] == [2, 1, 1]
    assert (found["gone"].failures, found["failed"].failures) == ([("cancelled", "")], [("internal", "")])
    assert (list(found["failed"].outputs), found["gone"].outputs["text"][0]) == ([], b"It is")
    assert parts[0][:3] == ("m", "1", "r")


async def test_messages_arrive_whole_whatever_the_pieces(tmp_path: Path):
    taken, lost = list[Sent](), list[tuple[int, int]]()

    async def take(some: list[Sent]) -> None:
        if some[0].request_id == "bad":
            raise ValueError("no")
        taken.extend(some)

    path = tmp_path / "r.sock"
    task = asyncio.create_task(Intake(path, take, lambda *each: lost.append(each)).run())
    while not path.exists():
        await asyncio.sleep(0)
    names = ("a", "bad", "b", "c")
    message = b"".join(msgspec.msgpack.encode(("payload", [(1, sent(request_id=name))])) for name in names)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(PING)
    assert await reader.readexactly(1) == PING
    for piece in itertools.batched(message, 37) if hasattr(itertools, "batched") else [message[:50], message[50:]]:
        writer.write(bytes(piece))
        await writer.drain()
    async with asyncio.timeout(60):
        while len(taken) < 3:
            await asyncio.sleep(0.01)
    writer.write(b"\xc1 this is no message")
    async with asyncio.timeout(60):
        while len(lost) < 2:
            await asyncio.sleep(0.01)
    assert ([each.request_id for each in taken], lost) == (["a", "b", "c"], [(1, 0), (0, 1)])
    writer.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not path.exists()
