"""The sandbox that a child puts itself in before it touches anything of a model's.

Pure Python and the kernel: no mount, no helper program, no privilege needed. What it is made of:

- an environment that holds nothing but what is named (`environ.py`);
- no_new_privs, no capabilities, and a user of its own where the platform runs as root;
- Landlock: libraries can be read, its own folders be written, nothing else be opened; no signals to others;
- seccomp: no sockets of its own making, no new processes, none of the calls that no model needs;
- bounds on files, and no core dumps.
"""

import contextlib
import ctypes
import os
import resource
import signal
import site
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from argosy.process import landlock, seccomp, users

VARIABLE = "ARGOSY_SANDBOX"
"""Where the launcher says what it is."""
PACKAGES = "ARGOSY_PACKAGES"
"""Where it names the folder of the packages that the model in it requires."""
MISSING = 78
"""The exit status of a child that was to run in a whole sandbox, and cannot: EX_CONFIG."""

_READ = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt/cuda", "/nix/store", "/etc/ld.so.cache"),
    *("/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/localtime", "/etc/timezone", "/etc/passwd"),
    *("/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/mime.types", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls"),
    *("/etc/ca-certificates", "/etc/locale.alias", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"),
    *("/proc/uptime", "/proc/loadavg", "/proc/version", "/proc/filesystems", "/proc/sys/kernel/osrelease"),
    *("/proc/sys/kernel/ngroups_max", "/proc/sys/kernel/cap_last_cap", "/proc/sys/vm/overcommit_memory"),
    *("/sys/devices", "/sys/bus", "/sys/class", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"),
)
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_NO_NEW_PRIVS, _GET_NO_NEW_PRIVS, _PDEATHSIG, _DUMPABLE = 38, 39, 1, 4
TASKS = 4096
"""Threads and processes of a model that has a user of its own."""
_LIMITS = {
    "core": resource.RLIMIT_CORE,
    "file_size": resource.RLIMIT_FSIZE,
    "files": resource.RLIMIT_NOFILE,
    "address_space": resource.RLIMIT_AS,
    "cpu": resource.RLIMIT_CPU,
    "tasks": resource.RLIMIT_NPROC,
}


class Policy(NamedTuple):
    """What one child may do.

    `reads` and `writes` are files and folders, besides the libraries; `devices` are those of GPUs. `network` is all of
    it; `ports` are those that TCP may connect to without, `listens` those that it may be bound to before `seal`.
    `subprocesses`: whether it may start others. `user`: the uid that it becomes (0: it stays). `parent`: the process it
    may not outlive (0: it may). `limits` are bounds by their name in `_LIMITS`.
    `required`: it ends rather than run in less than a whole sandbox.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    network: bool = False
    ports: tuple[int, ...] = ()
    listens: tuple[int, ...] = ()
    subprocesses: bool = False
    user: int = 0
    parent: int = 0
    limits: tuple[tuple[str, int], ...] = ()
    required: bool = False
    devices: tuple[str, ...] = ()


class Part(NamedTuple):
    """A part of the sandbox on this machine: what there is of it, and what is wrong with it (empty: nothing)."""

    name: str
    found: str
    lacks: str = ""
    needed: bool = True


def parts() -> tuple[Part, ...]:
    """What of a sandbox this machine has. Only what is `needed` makes it whole."""
    abi = landlock.version()
    lacks = "" if abi >= landlock.FULL else f"Landlock {landlock.FULL} is needed (Linux 6.12); this kernel has {abi}"
    calls = "" if seccomp.supported() else "seccomp filters are needed; this kernel or processor has none"
    rights = "" if no_new_privileges() else "no_new_privs is needed; this kernel has none"
    root = os.geteuid() == 0
    own = own_user()
    who = f"{users.FIRST} to {users.LAST}, one for each replica"
    shared = "none: replicas run as the platform's user" + ("" if root else f" {os.geteuid()}, which is not root")
    tasks = f"{TASKS:,} tasks of each replica"
    if own:
        tasks = "no bound of tasks" if root else f"{user_tasks() * 3 // 4:,} tasks of all that this user runs"
    return (
        Part("landlock", f"version {abi}" if abi else "none", lacks),
        Part("seccomp", "none" if calls else "filters", calls),
        Part("no new privileges", "none" if rights else "set", rights),
        Part("own user", shared if own else who, own, root),
        Part("bounds", f"rlimits: {tasks}, files, no core dumps; declared memory and threads are watched, no cgroup"),
    )


def no_new_privileges() -> bool:
    """Whether a process can give up, for good, the rights that files would give it."""
    return sys.platform == "linux" and _libc().prctl(_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0


def own_user() -> str:
    """Why a child cannot have a user of its own; empty where it can. Without Landlock it has none, since it may read
    what only owners may: see `users.become`."""
    return users.lacks() if landlock.version() else "Landlock is needed"


def limits(user: int) -> tuple[tuple[str, int], ...]:
    """The bounds of a process that answers with a model, with a user of its own or without (0)."""
    return (("file_size", 16 * 1024**3), ("files", 65536), *((("tasks", TASKS),) if user else ()))


def user_tasks() -> int:
    """Threads and processes that this user may have. A child of the same user gets three quarters of it for all of
    that user, so that the platform can start what it needs while a model starts all that it can."""
    bounds = [resource.getrlimit(resource.RLIMIT_NPROC)[0]]
    for name in ("threads-max", "pid_max"):
        with contextlib.suppress(OSError, ValueError):
            bounds.append(int(Path("/proc/sys/kernel", name).read_text()))
    return min(each for each in (*bounds, 2**22) if each > 0)


def lacks() -> str:
    """Why no whole sandbox can be had here; empty where one can."""
    return "; ".join(part.lacks for part in parts() if part.lacks and part.needed)


_entered: Policy | None = None


def enter(policy: Policy) -> None:
    """Put this process in. Call it before there are threads. Raises OSError where the kernel refuses what it has."""
    global _entered
    _entered = policy
    for name, wanted in (("core", 0), *policy.limits):
        _bound(_LIMITS[name], wanted)
    if sys.platform != "linux":
        die_with(policy.parent)
        return
    if not policy.user and os.geteuid():
        _bound(resource.RLIMIT_NPROC, user_tasks() * 3 // 4)
    _control(_NO_NEW_PRIVS, 1)
    if policy.user:
        users.become(policy.user)
    elif os.geteuid() == 0:
        users.drop()
    _control(_DUMPABLE, 1)
    die_with(policy.parent)  # not before: becoming another user takes the wish back
    reads = (*_READ, *_libraries(), *policy.reads, *policy.writes)
    network, ports, listens = policy.network, policy.ports, policy.listens
    devices = (*_DEVICES, *policy.devices)
    landlock.restrict(reads, policy.writes, devices, network=network, ports=ports, listens=listens)
    _refuse(policy, unix=True)


def seal() -> None:
    """From now on no Unix socket is made, so that none of the platform's is reached, nor one to listen on: call it once
    those that this process listens on are bound. All threads, and what they start. Outside of a sandbox nothing
    happens."""
    if _entered is not None and sys.platform == "linux":
        _refuse(_entered, unix=False)


def hide() -> None:
    """Keep the memory, environment and files of this process from others of the same user."""
    if sys.platform == "linux":
        _control(_DUMPABLE, 0)


def _refuse(policy: Policy, *, unix: bool) -> None:
    if seccomp.supported():
        inet = policy.network or bool(policy.ports) or (unix and bool(policy.listens))
        streams = not policy.network
        attributes = unix or bool(policy.user)
        seccomp.restrict(unix=unix, inet=inet, streams=streams, subprocesses=policy.subprocesses, attributes=attributes)


def _libraries() -> Iterable[str]:
    """Where this Python and its packages lie. Nothing of a model's has been run, and the working folder is not on the
    path: see `launch.python`."""
    found = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *site.getsitepackages(), *sys.path}
    found.add(os.path.dirname(os.path.realpath(sys.executable)))
    found.update(os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
    found.update(os.environ.get(name, "") for name in _CERTIFICATES)
    return sorted(path for path in found if path and path != "/")


def _bound(kind: int, wanted: int) -> None:
    hard = resource.getrlimit(kind)[1]
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (bound, bound))


def die_with(parent: int) -> None:
    """End with the thread of this process that started us; 0: do not."""
    if not parent:
        return
    if sys.platform == "linux":
        _control(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _control(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
