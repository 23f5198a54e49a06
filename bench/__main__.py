"""`python -m bench`: measures Argosy and its peers, prints the table and writes it to docs/benchmarks.md."""

import argparse
import json
import os
import platform
import shlex
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import envs, report
from bench.cases import CASES
from bench.rounds import Bench
from bench.servers import BY_NAME, PEERS, Server
from prove.document import put

DOCUMENT = envs.HERE.parent / "docs" / "benchmarks.md"
METHOD = (
    "server on core 0, client on core 1 (taskset); in the gateway and start cases everybody has both cores; one engine "
    "thread; every server started anew for every round; rounds interleaved, their median counts; one failed request "
    "fails that server's case"
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of a second each: does it run, not how fast")
    parser.add_argument("--case", action="append", choices=[c.NAME for c in CASES], help="only this case (repeatable)")
    parser.add_argument("--peers", nargs="*", choices=[p.name for p in PEERS], help="only these peers; none for none")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one run of load (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, help="write docs/benchmarks.md (full runs do)"
    )
    parser.add_argument("--json", type=Path, help="also write every sample to this file")
    return parser.parse_args()


def machine() -> str:
    """Processor, cores, memory and system of this machine in one line."""
    info = Path("/proc/cpuinfo").read_text()
    names = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    processor, system = names[0] if names else platform.machine(), f"{platform.system()} {platform.release()}"
    return f"{processor}, {cores} cores, {memory:.0f} GiB, {system}"


def own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("argosy")
    except PackageNotFoundError:
        return "not installed"


def facts(peers: list[Server], before: tuple[float, float, float]) -> dict[str, str]:
    pinned = [f"{p.package} {envs.version(p.environment, p.package)}" for p in peers]
    engine = envs.version("fastapi", "onnxruntime")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{machine()}; load average {before[0]:.1f} before the run",
        "versions": ", ".join(dict.fromkeys([f"argosy {own_version()}", *pinned, f"onnxruntime {engine}"])),
        "command": "`" + shlex.join(["python", "-m", "bench", *sys.argv[1:]]) + "`",
        "method": METHOD,
    }


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the servers that it has started would go on
    a, before = arguments(), os.getloadavg()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("the benchmark needs two cores: one for the server, one for the client")
    peers = PEERS if a.peers is None else [BY_NAME[name] for name in a.peers]
    bench = Bench(1.0 if a.quick else a.seconds, 1 if a.quick else a.rounds, peers)
    cases = [c for c in CASES if not a.case or c.NAME in a.case]
    for case in cases:
        case.run(bench)
    text = report.document(bench.results, [t for c in cases for t in c.TARGETS], facts(peers, before))
    print(text)
    full = not (a.quick or a.case or a.peers is not None)
    if full if a.write is None else a.write:
        put(DOCUMENT, report.BEGIN, report.END, text)
    if a.json:
        a.json.parent.mkdir(parents=True, exist_ok=True)
        a.json.write_text(json.dumps(asdict(bench.results), indent=1))


if __name__ == "__main__":
    main()
