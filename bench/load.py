"""Load on a server, from a process of its own on the client's core: closed loop by wrk, open loop and gRPC by ours."""

import json
import math
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from bench.servers import CLIENT_CORES, Unavailable

SCRIPT = """\
wrk.method = "POST"
local bodies, at = { %s }, 0
wrk.body = bodies[1]
%s
if #bodies > 1 then
  request = function()
    at = at %% #bodies + 1
    return wrk.format(nil, nil, nil, bodies[at])
  end
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\nBENCH {"requests": %%d, "seconds": %%f, "errors": %%d, "p50_us": %%f, "p99_us": %%f}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run saw; latencies in microseconds, `client_cpu` as the share of a core that the client used."""

    requests: int
    seconds: float
    errors: int
    p50_us: float
    p99_us: float
    client_cpu: float = 0.0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def lua_string(content: bytes) -> str:
    """The inside of a Lua string literal: anything but plain printable ASCII as a three-digit escape."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03d}" for b in content)


def lua_script(body: bytes | list[bytes], headers: dict[str, str]) -> str:
    lines = [f'wrk.headers["{lua_string(k.encode())}"] = "{lua_string(v.encode())}"' for k, v in headers.items()]
    bodies = body if isinstance(body, list) else [body]
    return SCRIPT % (", ".join(f'"{lua_string(each)}"' for each in bodies), "\n".join(lines))


def parse(text: str) -> Load:
    """The line that a load generator prints for us among its other output."""
    lines = [line for line in text.splitlines() if line.startswith("BENCH ")]
    if not lines:
        raise ValueError(f"the load generator printed no result: {text[-400:]!r}")
    return Load(**json.loads(lines[-1].removeprefix("BENCH ")))


def _pinned(argv: list[str], cores: tuple[int, ...], limit: float) -> Load:
    argv = ["taskset", "-c", ",".join(map(str, cores)), *argv]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(argv[:4])} failed: {(done.stderr or done.stdout)[-600:]}")
    load = parse(done.stdout)
    if not load.requests:
        raise Unavailable(f"no request was answered within {load.seconds:.0f} s")
    if load.errors:
        raise Unavailable(f"{load.errors} of {load.requests} requests failed under load")
    return load


def wrk(
    url: str, body: bytes | list[bytes], headers: dict[str, str], connections: int, seconds: float,
    cores: tuple[int, ...] = CLIENT_CORES,
) -> Load:  # fmt: skip
    """Closed loop: each connection sends its next request when the answer to the last one is there. Several bodies are
    sent in turn."""
    if not shutil.which("wrk"):
        raise Unavailable("wrk is not installed: run `apt-get install wrk`")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(lua_script(body, headers))
        script.flush()
        argv = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
        return _pinned([*argv, "-s", script.name, url], cores, seconds + 30)


def _module(module: str, arguments: list[str], body: bytes, cores: tuple[int, ...], seconds: float) -> Load:
    with tempfile.NamedTemporaryFile(suffix=".body") as file:
        file.write(body)
        file.flush()
        where = [sys.executable, "-m", module, "--body", file.name, "--seconds", str(seconds), *arguments]
        return _pinned(where, cores, seconds + 60)


def _target(port: int, path: str, headers: dict[str, str]) -> list[str]:
    return ["--port", str(port), "--path", path, *(f"--header={k}: {v}" for k, v in headers.items())]


def open_loop(
    port: int, path: str, body: bytes, headers: dict[str, str], rate: float, seconds: float,
    cores: tuple[int, ...] = CLIENT_CORES, *, apart: bool = False,
) -> Load:  # fmt: skip
    """Requests at seeded Poisson times, whatever the server does; latency counts from the intended time.

    `apart`: the client needs no core of its own, and waits for nobody.
    """
    arguments = ["--rate", str(rate), *_target(port, path, headers), *(["--apart"] if apart else [])]
    return _module("bench.openloop", arguments, body, cores, seconds)


def closed_loop(
    port: int, path: str, body: bytes, headers: dict[str, str], connections: int, seconds: float,
    cores: tuple[int, ...] = CLIENT_CORES,
) -> Load:  # fmt: skip
    """Closed loop for slow models: the steady rate of each connection, so that batches are not cut at the ends."""
    arguments = ["--connections", str(connections), *_target(port, path, headers)]
    return _module("bench.closedloop", arguments, body, cores, seconds)


def grpc(port: int, body: bytes, concurrency: int, seconds: float, cores: tuple[int, ...] = CLIENT_CORES) -> Load:
    """Closed loop over gRPC: so many calls in flight, each with the same bytes."""
    return _module("bench.grpcload", ["--port", str(port), "--concurrency", str(concurrency)], body, cores, seconds)


def emit(load: Load) -> None:
    """Prints a result so that `parse` finds it."""
    print("BENCH " + json.dumps({k: getattr(load, k) for k in Load.__dataclass_fields__}), flush=True)


def percentile(ordered: list[float], q: float) -> float:
    """The q-quantile (0..1) of a sorted list by the nearest rank."""
    return ordered[max(0, math.ceil(len(ordered) * q) - 1)]
