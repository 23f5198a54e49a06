"""The agent of devices as an aarch64 program: a root of Debian's packages and locked wheels, run by qemu-user.

    python -m prove.aarch64 PACKAGE-FOLDER

The root is the base of `argosy image build` for linux/arm64 with the wheels of its lock; the agent is that of this
checkout. It is made once, below the cache folder. Emulation says what is computed, not how fast.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from argosy.images import debian, wheels
from argosy.images.platforms import PLATFORMS
from argosy.packaging.package import open_package

PLATFORM = PLATFORMS["linux/arm64"]
QEMU = "qemu-aarch64"
AGENT = Path(__file__).parents[1] / "distributions/edge/src"
CPUS = "sys/devices/system/cpu"
HARDWARE = {
    "proc/cpuinfo": "processor : 0\nCPU implementer : 0x41\nCPU architecture: 8\nCPU part : 0xd08\n"
    "Features : fp asimd aes pmull sha1 sha2 crc32\n\n",
    **{f"{CPUS}/{name}": "0\n" for name in ("kernel_max", "online", "possible", "present")},
}
"""What a program sees of the processor: without it onnxruntime finds that of the host, and crashes."""
GOLDEN = """
import http.client, json, platform, sys
from argosy_edge import model, tensors
from argosy_edge.server import DeviceServer

loaded = model.load(sys.argv[1], json.load(sys.stdin), version="1")
test = loaded.selftest()
server = DeviceServer(0).start()
server.swap(loaded)
inputs = [
    {"name": port.name, "datatype": port.datatype, "shape": list(array.shape),
     "data": tensors.to_json(port.name, port.datatype, array)}
    for port, array in ((port, loaded.golden()[0][port.name]) for port in loaded.signature.inputs)
]
link = http.client.HTTPConnection("127.0.0.1", server.port)
link.request("POST", f"/v2/models/{loaded.name}/infer", json.dumps({"inputs": inputs}).replace("NaN", "null"))
answer = json.load(link.getresponse())
link.close()
server.stop()
print(json.dumps({"machine": platform.machine(), "difference": test.difference, "rows": test.rows, "answer": answer}))
"""


def root() -> Path:
    """The root, made if it is not there."""
    lock, pins = debian.lock_of(PLATFORM), wheels.lock_text(wheels.SERVE)
    cache = debian.cache_folder()
    place = cache / f"aarch64-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "aarch64.lock").open("w") as held, tempfile.TemporaryDirectory(dir=cache) as work:
        fcntl.flock(held, fcntl.LOCK_EX)
        if (place / "made").exists():
            return place
        shutil.rmtree(place, ignore_errors=True)
        tree = debian.tree_of(debian.download(lock, cache / "debian"), PLATFORM)
        tree.nodes |= wheels.tree_of(pins, PLATFORM, lock.python, Path(work)).nodes
        for path, text in HARDWARE.items():
            tree.file(path, text.encode())
        place.mkdir()
        tree.unpack(place)
        (place / "made").touch()
    return place


def run(words: list[str], *, given: str = "") -> str:
    """Run Python for aarch64 with these words. Returns what it wrote."""
    place = root()
    python = place / f"usr/bin/python{debian.PYTHON}"
    packages = place / wheels.PACKAGES.format(debian.PYTHON)
    environ = {"PYTHONPATH": f"{AGENT}:{packages}", "PYTHONHOME": str(place / "usr"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [QEMU, "-L", str(place), str(python), *words]
    ran = subprocess.run(command, env=os.environ | environ, input=given, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(words)[:80]} ended with {ran.returncode}: {ran.stderr[-2000:]}")
    return ran.stdout


def golden(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the agent there says of a package: machine, difference of its self-test, and the answer of its server."""
    return json.loads(run(["-c", GOLDEN, str(folder)], given=json.dumps(manifest)))


def main() -> int:
    """Print what comes of one package."""
    if shutil.which(QEMU) is None:
        print(f"{QEMU} is not installed: apt-get install qemu-user")
        return 1
    package = open_package(Path(sys.argv[1]))
    found = golden(package.folder, json.loads(msgspec.json.encode(package.manifest)))
    print({name: found[name] for name in ("machine", "rows", "difference")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
