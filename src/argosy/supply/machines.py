"""Machines that are there: this one, and those that SSH reaches. To launch one is to claim it.

The claim is a file in the home folder of the user there, made only where there is none, which names the launch. So it
outlives the controller, every platform sees it, and two that want one machine cannot both have it. All that is needed
there is a POSIX shell.
"""

import shlex
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec.structs import replace

from argosy.spec.errors import Conflict, DeadlineExceeded, NotFound, Unavailable
from argosy.spec.foreign import printable
from argosy.spec.offer import Launch, Offer
from argosy.spec.provider import Host, SshProvider
from argosy.supply.provider import Event

SECONDS = 20.0
"""How long a machine may take to answer."""
AT_ONCE = 16
SSH_FAILED = 255

FACTS = """
cpus=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
memory=$(awk '/^MemTotal:/ {printf "%.0f", $2 * 1024}' /proc/meminfo 2>/dev/null)
echo "$cpus ${memory:-0}"
nvidia-smi --query-gpu=memory.total,name --format=csv,noheader,nounits 2>/dev/null || :
"""
CLAIM = """
umask 077
echo "$1 $(date +%s)" > ".argosy-launch.$$" || exit 1
ln ".argosy-launch.$$" .argosy-launch 2>/dev/null
rm -f ".argosy-launch.$$"
cat .argosy-launch
"""
READ = "cat .argosy-launch 2>/dev/null || :"
END = """
[ -e .argosy-launch ] || exit 0
read id at < .argosy-launch
[ "$id" != "$1" ] || rm -f .argosy-launch
"""

Shell = Callable[[str, str, Sequence[str]], str]
"""Runs a script on a host with arguments: what it writes. Raises Unavailable, DeadlineExceeded."""


def here(folder: Path) -> Shell:
    """The shell of this machine, in a folder."""
    return lambda host, script, words: _run(host, ["sh", "-s", "--", *words], script, folder)


def by_ssh(config: str) -> Shell:
    """A shell on each host, by the user's `ssh`."""
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *(["-F", config] if config else [])]

    def run(host: str, script: str, words: Sequence[str]) -> str:
        return _run(host, ["ssh", *options, "--", host, shlex.join(["sh", "-s", "--", *words])], script, None)

    return run


def _run(host: str, command: Sequence[str], script: str, folder: Path | None) -> str:
    try:
        done = subprocess.run(
            command, check=False, input=script.encode(), capture_output=True, timeout=SECONDS, cwd=folder
        )
    except subprocess.TimeoutExpired:
        raise DeadlineExceeded(f"{host} did not answer within {SECONDS:.0f} s") from None
    except OSError as error:
        raise Unavailable(f"{command[0]} does not start: {error.strerror}; install it") from None
    if done.returncode:
        said = printable(done.stderr.decode(errors="replace").strip())[-300:] or f"exit status {done.returncode}"
        away = done.returncode == SSH_FAILED and command[0] == "ssh"
        raise Unavailable(f"{host} {'cannot be reached' if away else 'does not do what it should'}: {said}")
    return done.stdout.decode(errors="replace")


class Machines:
    """A provider of hosts. A host that does not answer offers nothing and is in no list; where none does, nobody
    knows."""

    def __init__(self, name: str, hosts: Mapping[str, Host], shell: Shell) -> None:
        self.name = name
        self._hosts, self._shell = hosts, shell

    @classmethod
    def local(cls, name: str, host: Host, folder: Path) -> "Machines":
        """This machine; its claim lies in `folder`."""
        return cls(name, {socket.gethostname(): host}, here(folder))

    @classmethod
    def ssh(cls, name: str, settings: SshProvider) -> "Machines":
        """Those of the settings."""
        return cls(name, settings.hosts, by_ssh(settings.config))

    def offers(self) -> Sequence[Offer]:
        return [self._offer(host, said) for host, said in self._ask(FACTS)]

    def quota(self, offer: Offer) -> int | None:
        return 0 if self._shell(self._known(offer), READ, ()).strip() else 1

    def launch(self, launch: Launch) -> Launch:
        host = self._known(launch.offer)
        found = self._launch(host, self._shell(host, CLAIM, (launch.id,)), launch)
        if found is None:
            raise Unavailable(f"{host} says nothing of its claim")
        if found.id != launch.id:
            raise Conflict(f"{host} is claimed by the launch '{found.id[:63]}'")
        return found

    def list(self) -> Sequence[Launch]:
        blank = {host: Launch(id="", offer=self._offer(host), asked=0.0) for host in self._hosts}
        found = [self._launch(host, said, blank[host]) for host, said in self._ask(READ)]
        return [each for each in found if each is not None]

    def end(self, launch: Launch) -> None:
        host, _, claim = launch.machine.partition("#")
        name = launch.id or claim
        self._shell(host or self._known(launch.offer), END, (name,))

    def events(self) -> Sequence[Event]:
        return ()

    def _known(self, offer: Offer) -> str:
        if offer.instance not in self._hosts:
            raise NotFound(f"{self.name} has no host '{offer.instance[:63]}': it has {', '.join(sorted(self._hosts))}")
        return offer.instance

    def _ask(self, script: str) -> Sequence[tuple[str, str]]:
        """What each host says that answers. Raises Unavailable where none does."""
        answers: list[tuple[str, str]] = []
        error: Unavailable | DeadlineExceeded | None = None
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            asked = {host: pool.submit(self._shell, host, script, ()) for host in self._hosts}
        for host, job in asked.items():
            try:
                answers.append((host, job.result()))
            except (Unavailable, DeadlineExceeded) as away:
                error = away
        if not answers and error is not None:
            raise error
        return answers

    def _offer(self, host: str, said: str = "") -> Offer:
        declared = self._hosts[host]
        first, *gpus = said.splitlines() or [""]
        numbers = [float(each) for each in first.split() if each.replace(".", "").isdecimal()]
        memory, _, name = gpus[0].partition(", ") if gpus else ("0", "", "")
        return Offer(
            provider=self.name,
            region=declared.region,
            zone=declared.zone,
            instance=host,
            price=declared.price,
            gpu=declared.gpu or name.removeprefix("NVIDIA "),
            count=declared.count or len(gpus),
            gpu_memory=int(memory) * 1024**2 if memory.isdecimal() else 0,
            cpus=numbers[0] if numbers else 0.0,
            memory=int(numbers[1]) if len(numbers) > 1 else 0,
            source="declared",
            trusted=declared.trusted,
        )

    def _launch(self, host: str, claim: str, launch: Launch) -> Launch | None:
        """What a claim says, None where there is none."""
        name, _, at = claim.strip().partition(" ")
        if not name:
            return None
        since = float(at) if at.isdecimal() else None
        address = host.rpartition("@")[2]
        news = {"machine": f"{host}#{name}", "address": address, "price": self._hosts[host].price}
        return replace(launch, id=name, state="ready", started=since, ready=since, **news)
