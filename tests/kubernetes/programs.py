"""The programs of a Kubernetes control plane, built once by `make kubernetes` from the modules that go.mod pins.

They lie in a folder of the user's cache that is named by what they are made of. Where KUBEBUILDER_ASSETS names a
folder, its programs are used and nothing is built; tests want `kwok`, `gateway-api` and `kwok-stages` there as well.
Only the standard library is imported here: this runs before the virtual environment is made.
"""

import fcntl
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

MODULE = Path(__file__).parent
"""The folder of go.mod; that of containerd is the folder of its name in it."""
KUBERNETES = "k8s.io/kubernetes"
PACKAGES = {
    "kube-apiserver": f"{KUBERNETES}/cmd/kube-apiserver",
    "kube-controller-manager": f"{KUBERNETES}/cmd/kube-controller-manager",
    "kube-scheduler": f"{KUBERNETES}/cmd/kube-scheduler",
    "kubectl": f"{KUBERNETES}/cmd/kubectl",
    "kubelet": f"{KUBERNETES}/cmd/kubelet",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "etcd": "go.etcd.io/etcd/server/v3",
}
CONTAINERD = {name: f"github.com/containerd/containerd/v2/cmd/{name}" for name in ("containerd", "ctr")}
STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
FILES = {
    "gateway-api": ("sigs.k8s.io/gateway-api", ["config/crd/standard"]),
    "kwok-stages": ("sigs.k8s.io/kwok", [f"kustomize/stage/{each}" for each in STAGES]),
}
"""Folder → the module and those of its folders whose YAML files are copied there."""
OPTIONS = ["-trimpath", "-buildvcs=false", "-tags=selinux,notest,grpcnotrace"]
"""Kubernetes' own, but that C is left out: no compiler of it is needed."""
VERSION = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
"""Packages whose variables hold the version; without it programs call themselves v0.0.0-master."""


def folder() -> Path:
    """Where the programs are, or would be once they are built."""
    if given := os.environ.get("KUBEBUILDER_ASSETS"):
        return Path(given)
    made_of = repr((PACKAGES, CONTAINERD, FILES, OPTIONS, VERSION, platform.machine())).encode()
    pinned = [MODULE / part / name for part in ("", "containerd") for name in ("go.mod", "go.sum")]
    digest = hashlib.sha256(made_of + b"".join(file.read_bytes() for file in pinned))
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "argosy", "kubernetes", digest.hexdigest()[:16])


def missing() -> list[str]:
    """The names of programs and folders of a control plane that are not there. The kubelet, which needs a runtime, is
    not missed."""
    return [name for name in (*PACKAGES, *FILES) if name != "kubelet" and not (folder() / name).exists()]


def build() -> Path:
    """Build what is not there; the folder appears once it is whole. Two builds at once wait for each other."""
    place = folder()
    if "KUBEBUILDER_ASSETS" in os.environ or place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            return place
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, package in (PACKAGES | CONTAINERD).items():
            began, module = time.monotonic(), "containerd" if name in CONTAINERD else ""
            _go("build", *OPTIONS, f"-ldflags={_linked()}", "-o", str(part / name), package, module=module)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            took, cpu = time.monotonic() - began, used.ru_utime + used.ru_stime
            print(f"{name}: {took:.0f} s; {cpu:.0f} s of CPU until here", flush=True)
        for name, (module, folders) in FILES.items():
            (part / name).mkdir()
            root = Path(json.loads(_go("mod", "download", "-json", module))["Dir"])  # no program is built of it
            for file in sorted(file for each in folders for file in (root / each).glob("*.yaml")):
                if file.name != "kustomization.yaml":
                    shutil.copyfile(file, part / name / file.name)
        part.rename(place)
    return place


def _linked() -> str:
    """Options of the linker: no symbols, and the version that go.mod pins."""
    version = _module(KUBERNETES)["Version"]
    major, minor, _ = version.removeprefix("v").split(".", 2)
    told = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s -w", *(f"-X {package}.{name}={value}" for package in VERSION for name, value in told.items())])


def _module(name: str) -> dict[str, str]:
    return json.loads(_go("list", "-m", "-json", name))


def _go(*arguments: str, module: str = "") -> str:
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    done = subprocess.run(["go", *arguments], check=False, cwd=MODULE / module, env=environment, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(
            f"go {arguments[0]} {arguments[-1]} failed in {MODULE} ({done.returncode}): its words are above"
        )
    return done.stdout.decode()


def main() -> None:
    """Build, and tell where."""
    if "KUBEBUILDER_ASSETS" not in os.environ and not folder().exists() and shutil.which("go") is None:
        raise SystemExit(
            "go is not on the PATH: install Go 1.26, or name a folder of built programs by KUBEBUILDER_ASSETS"
        )
    print(build())
    if lacking := missing():
        print(f"not in it, so tests that need them are skipped: {', '.join(lacking)}", file=sys.stderr)


if __name__ == "__main__":
    main()
