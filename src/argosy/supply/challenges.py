"""The program that runs on a machine which has to show what it can do. It needs Python and numpy, for a GPU PyTorch,
and nothing of ours: its text is sent to the machine. It reads challenges from standard input and answers on standard
output, each a line of JSON that says how many bytes follow it. Times are taken by who asks.

`product` is work that nobody can shorten and anybody can check: a product of many matrices modulo 13. `blocks` is a
stretch of memory of which no place is known without all that comes before it.
"""

import hashlib
import importlib
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

MODULUS = 13
"""So small that sums of products are whole numbers in single precision."""
SPAN = 1 << 22
"""Numbers of eight bytes in a block."""
DEVICE = "cuda"
ODD = np.uint64(0x9E3779B97F4A7C15)


def matrix(seed: str, rows: int, columns: int) -> Any:
    """Numbers from 0 to 12."""
    data = hashlib.shake_128(seed.encode()).digest(rows * columns)
    return (np.frombuffer(data, np.uint8) % MODULUS).astype(np.float32).reshape(rows, columns)


def shifts(seed: str, rounds: int, size: int) -> list[int]:
    """By how much the columns are moved before each multiplication, so that no power of a matrix is a shortcut."""
    data = hashlib.shake_128(f"{seed} shifts".encode()).digest(4 * rounds)
    return [int(each) % size for each in np.frombuffer(data, "<u4")]


def product(seed: str, size: int, rounds: int) -> bytes:
    """A · P₁B · P₂B · …, modulo 13."""
    found, by = matrix(f"{seed} a", size, size), matrix(f"{seed} b", size, size)
    for shift in shifts(seed, rounds, size):
        found = np.roll(found, shift, axis=1) @ by
        found -= MODULUS * np.floor(found / MODULUS)
    return found.astype(np.uint8).tobytes()


def gpu_product(seed: str, size: int, rounds: int) -> bytes:
    """The same on a GPU. Sums are exact in TF32 as well."""
    torch = importlib.import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = True
    found, by = (torch.from_numpy(matrix(f"{seed} {each}", size, size)).to(DEVICE) for each in "ab")
    for shift in shifts(seed, rounds, size):
        found = torch.roll(found, shift, 1) @ by
        found -= MODULUS * torch.floor(found / MODULUS)
    return found.to(torch.uint8).cpu().numpy().tobytes()


def is_product(answer: bytes, seed: str, size: int, rounds: int, secret: str) -> bool:
    """Whether it is, by its products with 16 vectors that whoever answered could not know (Freivalds)."""
    if len(answer) != size * size:
        return False
    given = np.frombuffer(answer, np.uint8).reshape(size, size)
    vectors = matrix(secret, size, 16)
    wanted, by = vectors, matrix(f"{seed} b", size, size)
    for shift in reversed(shifts(seed, rounds, size)):
        wanted = np.roll((by @ wanted) % MODULUS, -shift, axis=0)
    wanted = (matrix(f"{seed} a", size, size) @ wanted) % MODULUS
    return bool(given.max(initial=0) < MODULUS and np.array_equal((given @ vectors) % MODULUS, wanted))


def blocks(seed: int) -> Iterator[Any]:
    """One after the other; a number depends on half of the block before, or more."""
    found = np.arange(SPAN, dtype=np.uint64) + np.uint64(seed)
    while True:
        found = np.cumsum(found[::-1], dtype=np.uint64)
        found ^= found >> np.uint64(29)
        found *= ODD
        yield found


def gpu_blocks(seed: int) -> Iterator[Any]:
    """The same numbers on a GPU, as signed ones."""
    torch = importlib.import_module("torch")
    found = torch.arange(SPAN, dtype=torch.int64, device=DEVICE) + seed
    while True:
        found = torch.cumsum(torch.flip(found, (0,)), 0)
        found ^= (found >> 29) & ((1 << 35) - 1)
        found *= int(ODD.astype(np.int64))
        yield found


def hashed(count: int, seed: int) -> str:
    """Of so many blocks."""
    digest = hashlib.blake2b()
    for block in itertools.islice(blocks(seed), count):
        digest.update(block.data)
    return digest.hexdigest()


def stored(count: int, seed: int) -> str:
    """The same of blocks that were written to a file, brought to the disk and read back."""
    digest = hashlib.blake2b()
    with tempfile.TemporaryFile(dir=".") as file:
        for block in itertools.islice(blocks(seed), count):
            file.write(block.data)
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        while data := file.read(8 * SPAN):
            digest.update(data)
    return digest.hexdigest()


def send(stream: IO[bytes], message: dict[str, Any], data: bytes = b"") -> None:
    """A line, and the bytes that it announces."""
    stream.write(json.dumps({**message, "bytes": len(data)}).encode() + b"\n" + data)
    stream.flush()


def receive(stream: IO[bytes]) -> "tuple[dict[str, Any], bytes] | None":
    """What comes next; None where nothing more does."""
    line = stream.readline(65536)
    if not line.endswith(b"\n"):
        return None
    message = json.loads(line)
    data = stream.read(message["bytes"])
    return (message, data) if len(data) == message["bytes"] else None


def main(given: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until nothing more is asked."""
    held: list[Any] = []
    while (asked := receive(given)) is not None:
        message, data = asked
        match message["do"]:
            case "product" | "gpu_product" as do:
                make = product if do == "product" else gpu_product
                send(answers, {}, make(message["seed"], message["size"], message["rounds"]))
            case "fill" | "gpu_fill" as do:
                made = (blocks if do == "fill" else gpu_blocks)(message["seed"])
                held = list(itertools.islice(made, message["count"]))
                # What a GPU was asked for goes on after the call: reading waits for it.
                send(answers, {"last": int(held[-1][-1])})
            case "read":
                at = np.frombuffer(data, "<u8")
                values = np.array([int(held[each // SPAN][each % SPAN]) % (1 << 64) for each in at.tolist()], "<u8")
                send(answers, {}, values.tobytes())
                held = []
            case "disk":
                send(answers, {"hash": stored(message["count"], message["seed"])})
            case _:
                send(answers, {"hash": hashlib.blake2b(data).hexdigest()}, os.urandom(message.get("back", 0)))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
