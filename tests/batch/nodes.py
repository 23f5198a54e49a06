"""A Ray cluster of several nodes on this machine: `python -m tests.batch.nodes CORES…`, one number for each node.

Prints the address and the process ids of the nodes' raylets, then lives until its standard input is closed. A line
there ends the process of the head that all others ask (the GCS), or starts it again; where it kept nothing on a disk,
that is another cluster at the same address.
"""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from tests.programs import cut_off

ROOT = Path(__file__).parents[2]
PR_SET_CHILD_SUBREAPER = 36
STORE = 80 * 1024 * 1024


class Nodes(msgspec.Struct, frozen=True):
    """The head's address; a raylet for each node, the head's first."""

    address: str
    raylets: tuple[int, ...]
    head: Callable[[], None] = lambda: None
    """Ends the head, or starts it again."""

    def kill(self, node: int) -> None:
        """Kill a node with all that works there."""
        cut_off(psutil.Process(self.raylets[node]))

    def lose(self, node: int, folder: Path, done: Callable[[], Container[str]]) -> bool:
        """Kill a node with all that works there, if one of its processes has written to a file of the folder that it
        still holds, and that is none of those `done`; else leave it as it is."""
        raylet = psutil.Process(self.raylets[node])
        processes, held = raylet.children(recursive=True), list[Path]()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
                held += [Path(file.path) for file in process.open_files()]
        mine = [path for path in held if path.parent == folder and path.exists() and path.stat().st_size]
        if all(path.name in done() for path in mine):
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()
            return False
        cut_off(raylet)
        return True


@contextlib.contextmanager
def running(*cores: int, log: Path, environ: Mapping[str, str] | None = None) -> Iterator[Nodes]:
    """A cluster with a node for each number of cores, and these variables besides."""
    command = [sys.executable, "-m", "tests.batch.nodes", *(str(one) for one in cores)]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"} | dict(environ or {})
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=ROOT
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        told = msgspec.json.decode(line)

        def head() -> None:
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"done\n", log.read_text()

        yield Nodes(told["address"], tuple(told["raylets"]), head)
        process.stdin.close()
        process.wait(60)


def main() -> None:
    """Start, say so, wait, end."""
    out = os.dup(1)
    os.dup2(2, 1)
    from ray.cluster_utils import Cluster

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    settings = {"include_dashboard": False, "object_store_memory": STORE}

    def begin(port: int = 0) -> list[Any]:
        """A cluster whose head listens at this port: its nodes, the head first."""
        cluster, (head, *others) = Cluster(), (int(one) for one in sys.argv[1:])
        quick = {"health_check_period_ms": 500}
        nodes = [cluster.add_node(num_cpus=head, _system_config=quick, gcs_server_port=port, **settings)]
        return nodes + [cluster.add_node(num_cpus=one, **settings) for one in others]

    nodes = begin()
    port = int(nodes[0].gcs_address.rpartition(":")[2])
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    os.write(out, json.dumps({"address": nodes[0].gcs_address, "raylets": raylets}).encode() + b"\n")
    lives = True
    for _ in sys.stdin.buffer:
        if lives:
            nodes[0].kill_gcs_server()
        elif "RAY_gcs_storage" in os.environ:
            nodes[0]._ray_params.gcs_server_port = port
            nodes[0].start_gcs_server()
        else:
            nodes = begin(port)
        lives = not lives
        os.write(out, b"done\n")
    for node in nodes:
        node.kill_all_processes(check_alive=False, allow_graceful=True)
    for process in psutil.Process().children(recursive=True):  # agents whose raylet ended itself
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    main()
