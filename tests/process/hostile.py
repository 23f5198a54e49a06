# ruff: noqa: SIM115
"""A model that tries what no model may: each try must raise, or it is told as open."""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np


def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def daemon():
    """Two forks and a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)


def bomb():
    for _ in range(50):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)


def unix(path, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as line:
        line.settimeout(3)
        line.connect(path)


def turned(path):
    """A pair of datagram sockets, one of them sent elsewhere."""
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.sendto(b"x", path)


def connected(path):
    """A pair of stream sockets, one of them connected anew."""
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.connect(path)


def inherited(path):
    """Every socket that is open already, connected elsewhere or sent from."""
    for fd in range(3, 200):
        try:
            line = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        for use in (line.connect, lambda where: line.sendto(b"x", where)):  # noqa: B023
            try:
                use(path)
            except (OSError, ValueError, TypeError):
                continue
            return
        line.detach()
    raise PermissionError("no socket leads there")


def tcp(port):
    socket.create_connection(("127.0.0.1", port), 3).close()


def by_exec(code):
    subprocess.run([sys.executable, "-S", "-c", code], check=True, timeout=30)


def replaced(code):
    """This process becomes another program, which has the rights that its file gives."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", code], {})
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise PermissionError


def in_thread(function):
    found = []

    def run():
        try:
            function()
            found.append(None)
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if found[0] is not None:
        raise found[0]


def memory_of(pid):
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.seek(0)


def peek(pid):
    buffer = ctypes.create_string_buffer(8)

    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))

    local, remote = Vector(ctypes.addressof(buffer), 8), Vector(ctypes.addressof(buffer), 8)
    call(310 if os.uname().machine == "x86_64" else 270, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)


def linked(path):
    os.link(path, "stolen")


def symlinked(path):
    os.symlink(path, "r2.sock")


def more_files():
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    except ValueError as error:
        raise PermissionError(str(error)) from None


def shared(told):
    """What the platform's user has in memory, by number."""
    machine = os.uname().machine == "x86_64"
    names = ("shmget", "shmat", "shmctl", "semget", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl")
    of_arm = (194, 196, 195, 190, 191, 186, 189, 188, 187)
    numbers = dict(zip(names, (29, 30, 31, 64, 66, 68, 69, 70, 71) if machine else of_arm, strict=True))
    memory, queue, semaphore = told["shared"]
    text = ctypes.create_string_buffer(struct.pack("q", 1) + b"x")
    remove, more = 0, 0o1666
    yield "attach shared memory", lambda: call(numbers["shmat"], memory, 0, 0)
    yield "attach shared memory to read", lambda: call(numbers["shmat"], memory, 0, 0o10000)
    yield "remove shared memory", lambda: call(numbers["shmctl"], memory, remove, 0)
    yield "make shared memory", lambda: call(numbers["shmget"], 0, 4096, more)
    yield "send a message", lambda: call(numbers["msgsnd"], queue, ctypes.byref(text), 1, 0o4000)
    yield "take a message", lambda: call(numbers["msgrcv"], queue, ctypes.byref(text), 1, 0, 0o4000)
    yield "remove a queue", lambda: call(numbers["msgctl"], queue, remove, 0)
    yield "make a queue", lambda: call(numbers["msgget"], 0, more)
    yield "set a semaphore", lambda: call(numbers["semctl"], semaphore, 0, 16, 1)
    yield "make a semaphore", lambda: call(numbers["semget"], 0, 1, more)
    name = told["queue"].encode()
    yield "open a queue", lambda: call(240 if machine else 180, name, os.O_RDWR, 0, None)
    yield "create a queue", lambda: call(240 if machine else 180, b"hostile", os.O_RDWR | os.O_CREAT, 0o600, None)
    yield "unlink a queue", lambda: call(241 if machine else 181, name)


def threads():
    return 234 if os.uname().machine == "x86_64" else 131


def queued(pid, number):
    told = ctypes.create_string_buffer(struct.pack("iii", number, 0, -1), 128)
    call(129 if os.uname().machine == "x86_64" else 138, pid, number, ctypes.byref(told))


def flagged(path):
    """A file that can be read, marked never to be backed up."""
    with open(path, "rb") as file:
        flags = bytearray(8)
        fcntl.ioctl(file, 0x80086601, flags)
        fcntl.ioctl(file, 0x40086602, struct.pack("l", struct.unpack("l", flags)[0] | 0x40))


def watched(path):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.inotify_add_watch(libc.inotify_init(), path.encode(), 0xFFF) < 0:
        raise OSError(ctypes.get_errno(), path)


def by_file(pid):
    """A signal that the kernel sends when a pipe has something to read. Whether it came, the platform can tell."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETOWN, pid)
    fcntl.fcntl(ours, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(theirs, b"x")
    raise PermissionError


def to_all():
    """A signal to everybody, which nobody gets: the kernel calls that a success. Not as root, where it might arrive."""
    if os.getuid():
        os.kill(-1, signal.SIGUSR1)
    raise PermissionError


def io_uring():
    parameters = ctypes.create_string_buffer(120)
    call(425, 4, parameters)


def x86_only(number, *arguments):
    if os.uname().machine != "x86_64":
        raise PermissionError("there is none here")
    return call(number, *arguments)


def is_root():
    os.setresuid(0, 0, 0)
    if os.geteuid() == 0 and int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16) & ~4:
        return
    raise PermissionError


def clone_namespace(flag):
    x86_only(56, flag | signal.SIGCHLD, 0, 0, 0, 0)


def tries(told):
    yield from of_files(told)
    yield from of_sockets(told)
    yield from of_processes(told["pid"])
    yield from shared(told)
    yield from of_the_kernel()


def of_files(told):
    pid = told["pid"]
    for path in told["files"]:
        yield f"read {path}", lambda path=path: open(path, "rb").read(1)
        yield f"link {path}", lambda path=path: linked(path)
        yield f"read {path} in a thread", lambda path=path: in_thread(lambda: open(path, "rb").read(1))
        yield f"read {path} from another root", lambda path=path: open(f"/proc/self/root{path}", "rb").read(1)
        yield f"read {path} of the platform", lambda path=path: open(f"/proc/{pid}/root{path}", "rb").read(1)
        yield f"let others read {path}", lambda path=path: os.chmod(path, 0o666)
        yield f"give {path} away", lambda path=path: os.chown(path, os.getuid(), 1)
        yield f"mark {path}", lambda path=path: os.setxattr(path, "user.x", b"x")
        yield f"change the times of {path}", lambda path=path: os.utime(path, (0, 0))
        yield f"watch {path}", lambda path=path: watched(path)
        yield f"lose {path}", lambda path=path: os.unlink(path)
        yield f"cut {path}", lambda path=path: os.truncate(path, 0)
    for path in told["folders"]:
        yield f"close {path}", lambda path=path: os.chmod(path, 0)
        yield f"watch {path}", lambda path=path: watched(path)
        yield f"change the times of {path}", lambda path=path: os.utime(path, (0, 0))
        yield f"list {path}", lambda path=path: os.listdir(path)
        yield f"write in {path}", lambda path=path: open(f"{path}/hostile", "w").write("x")
        yield f"make a folder in {path}", lambda path=path: os.mkdir(f"{path}/hostile.d")
        yield f"rename into {path}", lambda path=path: os.rename("own", f"{path}/own")
    for path in told["written"]:
        yield f"write in {path}", lambda path=path: open(f"{path}/hostile.pth", "w").write("x")


def of_sockets(told):
    tcp_port = told["port"]
    for path in told["sockets"]:
        yield f"connect to {path}", lambda path=path: unix(path)
        yield f"send to {path}", lambda path=path: unix(path, socket.SOCK_DGRAM)
        yield f"turn a socket to {path}", lambda path=path: turned(path)
        yield f"connect a pair to {path}", lambda path=path: connected(path)
        yield f"use an open socket for {path}", lambda path=path: inherited(path)
        yield f"link {path}", lambda path=path: linked(path)
        yield f"close {path}", lambda path=path: os.chmod(path, 0)
        yield f"symlink {path}", lambda path=path: symlinked(path)
    yield "connect by TCP", lambda: tcp(tcp_port)
    yield "listen by TCP", lambda: socket.create_server(("127.0.0.1", 0))
    yield "send by UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
    yield "IPv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    yield "raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    for family in (16, 17, 31, 38, 40, 15, 44):
        yield f"socket of family {family}", lambda family=family: socket.socket(family, socket.SOCK_RAW)
        yield f"datagram of family {family}", lambda family=family: socket.socket(family, socket.SOCK_DGRAM)
    yield "abstract socket", lambda: socket.socket(socket.AF_UNIX).connect("\0" + told["abstract"])


def of_processes(pid):
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, 0):
        yield f"signal {number} to the platform", lambda number=number: os.kill(pid, number)
        yield f"signal {number} to its group", lambda number=number: os.killpg(os.getpgid(pid), number)
    yield "signal its parent", lambda: os.kill(os.getppid(), 0)
    yield "signal by pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0)
    yield "take a file of the platform", lambda: call(438, os.pidfd_open(pid), 0, 0)
    for name in ("environ", "mem", "maps", "cmdline", "cwd/x", "root/etc/passwd", "fd/0", "status", "stat"):
        yield f"the platform's {name}", lambda name=name: open(f"/proc/{pid}/{name}", "rb").read(1)
    yield "the platform's folder", lambda: os.listdir(f"/proc/{pid}/cwd/")
    yield "the platform's memory", lambda: memory_of(pid)
    yield "its limits", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (10, 10))
    yield "peek", lambda: peek(pid)
    yield "ptrace", lambda: call(101 if os.uname().machine == "x86_64" else 117, 16, pid, 0, 0)
    for number in (signal.SIGKILL, signal.SIGUSR1):
        yield f"queue signal {number}", lambda number=number: queued(pid, number)
        yield f"signal {number} to a thread", lambda number=number: call(threads(), pid, pid, number)
    yield "signal by a file", lambda: by_file(pid)
    yield "signal to all", to_all
    yield "its cores", lambda: os.sched_setaffinity(pid, {0})
    yield "its parent's cores", lambda: os.sched_setaffinity(os.getppid(), {0})
    yield "its scheduler", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    yield "its scheduler's parameters", lambda: os.sched_setparam(pid, os.sched_param(0))
    yield "its priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, -5)
    yield "daemon", daemon
    yield "fork bomb", bomb
    yield "fork in a thread", lambda: in_thread(bomb)
    yield "program", lambda: by_exec("pass")
    yield "posix_spawn", lambda: replaced("pass")
    yield "shell", lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True)


def of_the_kernel():
    yield "root", is_root
    yield "group", lambda: os.setgid(0) if os.getgid() else os.setgroups([0, 1])
    yield "core dumps", more_files
    yield "io_uring", io_uring
    yield "mount", lambda: x86_only(165, b"tmpfs", b"/tmp", b"tmpfs", 0, None)
    yield "umount", lambda: x86_only(166, b"/proc", 2)
    yield "chroot", lambda: os.chroot(".")
    yield "unshare", lambda: x86_only(272, 0x10000000)
    yield "unshare the mounts", lambda: x86_only(272, 0x20000)
    yield "setns", lambda: x86_only(308, 0, 0)
    for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):
        yield f"clone {flag:x}", lambda flag=flag: clone_namespace(flag)
        yield f"clone {flag:x} as a thread", lambda flag=flag: clone_namespace(flag | 0x10000)
    yield "clone3", lambda: call(435, struct.pack("11Q", 0x10000000, *[0] * 10), 88)
    yield "bpf", lambda: x86_only(321, 0, 0, 0)
    yield "keyring", lambda: x86_only(250, 0, -3, 0)
    yield "perf", lambda: x86_only(298, 0, 0, 0, 0, 0)
    yield "userfaultfd", lambda: x86_only(323, 0)
    yield "open by handle", lambda: x86_only(304, 0, 0, 0)
    yield "x32 call", lambda: x86_only(0x40000000 | 41, 1, 1, 0)
    yield "kexec", lambda: x86_only(246, 0, 0, 0, 0)
    yield "module", lambda: x86_only(175, 0, 0, 0)
    yield "reboot", lambda: x86_only(169, 0, 0, 0, 0)
    yield "name of the host", lambda: socket.sethostname("x")
    yield "kernel log", lambda: x86_only(103, 3, 0, 0)
    yield "terminal", lambda: fcntl.ioctl(2, 0x5412, b"x")
    yield "device", lambda: os.mknod("d", 0o600 | 0o020000, os.makedev(1, 1))
    yield "block device", lambda: os.listdir("/dev")
    yield "kernel settings", lambda: open("/proc/sys/kernel/core_pattern", "r+").write("x")
    yield "shared memory", lambda: open("/dev/shm/hostile", "w")
    yield "message queue", lambda: open("/dev/mqueue/x", "w")
    yield "another's home", lambda: os.listdir(os.path.expanduser("~root"))


def attempt(function):
    try:
        function()
    except OSError as error:
        good = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOENT, errno.EXDEV, errno.EROFS, errno.ESRCH)
        good += (errno.EISCONN, errno.EOPNOTSUPP, errno.EPROTOTYPE, None)
        return "" if error.errno in good else f"{type(error).__name__}: {error}"
    except (ValueError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"
    return "open"


class Model:
    def load(self, path):
        told = json.loads(os.environ["TRIED"])
        Path("own").write_text("x")
        found = {name: said for name, function in tries(told) if (said := attempt(function))}
        for name, function in (
            ("write in the package", lambda: (path / "hostile").write_text("x")),
            ("flag the package", lambda: flagged(path / "model.py")),
            ("write over the package", lambda: (path / "model.py").write_text("x")),
        ):
            if said := attempt(function):
                found[name] = said
        honest = {
            "thread": in_thread(lambda: None) is None,
            "file": Path("own").read_text() == "x",
            "memory": bool(mmap.mmap(-1, 4096)),
            "environ": sorted(os.environ),
            "tasks": resource.getrlimit(resource.RLIMIT_NPROC)[1],
        }
        Path("told.tmp").write_text(json.dumps({"found": found, "honest": honest, "uid": os.getuid()}))
        os.rename("told.tmp", "told.json")

    def predict(self, inputs):
        return {"label": inputs["x"][:, 0].astype(np.int64)}
