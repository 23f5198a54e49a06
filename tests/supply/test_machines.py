"""Machines that are there: claims on this one, and by SSH, with a server where there is one and a stand-in else."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from argosy.spec.errors import Conflict, DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from argosy.spec.offer import Launch
from argosy.spec.provider import Host, SshProvider
from argosy.supply import machines
from argosy.supply.machines import Machines
from tests import ports

HOST = Host(price=0.35, region="lab", gpu="A10G", count=1)


def launch(provider: Machines, name: str = "argosy-1-a") -> Launch:
    (offer,) = provider.offers()
    return Launch(id=name, offer=offer, asked=1.0)


def check(provider: Machines) -> None:
    """What every provider of machines does."""
    wanted = launch(provider)
    offer = wanted.offer
    assert (offer.price, offer.region, offer.gpu, offer.count) == (0.35, "lab", "A10G", 1)
    assert offer.cpus >= 1
    assert offer.memory > 2**20
    assert (provider.quota(offer), provider.list()) == (1, [])
    begun = int(time.time())
    ready = provider.launch(wanted)
    assert ready.state == "ready"
    assert ready.price == 0.35
    assert ready.started is not None
    assert ready.started >= begun - 1
    assert provider.launch(wanted) == ready
    assert [(each.id, each.machine, each.started) for each in provider.list()] == [
        (wanted.id, ready.machine, ready.started)
    ]
    assert provider.quota(offer) == 0
    other = replace(wanted, id="argosy-2-b")
    with pytest.raises(Conflict, match="is claimed by the launch 'argosy-1-a'"):
        provider.launch(other)
    provider.end(other)
    assert len(provider.list()) == 1
    provider.end(replace(provider.list()[0], id=""))
    assert provider.list() == []
    provider.end(wanted)
    with pytest.raises(NotFound, match="has no host 'moon'"):
        provider.launch(replace(wanted, offer=replace(offer, instance="moon")))


def test_this_machine_is_claimed(tmp_path):
    check(Machines.local("here", HOST, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_claim_at_once_one_has_it(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    provider = Machines.local("here", HOST, tmp_path)
    wanted = launch(provider)

    def claim(number: int) -> str:
        try:
            return provider.launch(replace(wanted, id=f"argosy-{number}-a")).id
        except Conflict:
            return ""

    with ThreadPoolExecutor(8) as pool:
        got = [each for each in pool.map(claim, range(16)) if each]
    assert got == [each.id for each in provider.list()]
    assert len(got) == 1


SSH = r"""#!/bin/sh
[ "$1 $2 $3 $4 $5" = "-o BatchMode=yes -o ConnectTimeout=10 --" ] || exit 2
case $6 in
  away) echo "ssh: connect to host away port 22: Connection refused" >&2; exit 255;;
  hang) exec sleep 60;;
esac
mkdir -p "$ROOT/$6" && cd "$ROOT/$6" && exec sh -c "$7"
"""
"""A stand-in of `ssh`, called as the real one is: each host is a folder."""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_host_by_ssh_is_claimed(ssh):
    check(Machines.ssh("lab", SshProvider(hosts={"ann@one": HOST})))


def test_hosts_that_do_not_answer_are_in_no_list_and_hide_no_other(ssh):
    provider = Machines.ssh("lab", SshProvider(hosts={"one": HOST, "away": HOST}))
    (offer,) = provider.offers()
    assert offer.instance == "one"
    provider.launch(Launch(id="argosy-1-a", offer=offer, asked=1.0))
    assert [each.address for each in provider.list()] == ["one"]
    away = "away cannot be reached: ssh: connect to host away port 22: Connection refused"
    with pytest.raises(Unavailable, match=away):
        provider.launch(Launch(id="argosy-1-b", offer=replace(offer, instance="away"), asked=1.0))
    with pytest.raises(Unavailable, match=away):
        Machines.ssh("lab", SshProvider(hosts={"away": HOST})).list()


def test_a_host_that_hangs_is_given_up(ssh, monkeypatch):
    monkeypatch.setattr(machines, "SECONDS", 0.2)
    with pytest.raises(DeadlineExceeded, match="hang did not answer within"):
        Machines.ssh("lab", SshProvider(hosts={"hang": HOST})).list()


def test_a_host_that_says_nonsense_offers_what_is_declared(ssh):
    provider = Machines("lab", {"one": HOST}, lambda *_: "\x00 nan -1 many\nH100\n")
    (offer,) = provider.offers()
    assert (offer.cpus, offer.memory, offer.gpu, offer.gpu_memory) == (0.0, 0, "A10G", 0)


def test_without_ssh_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="ssh does not start"):
        Machines.ssh("lab", SshProvider(hosts={"one": HOST})).list()


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", "a\nb"])
def test_a_host_that_ssh_would_take_for_something_else_is_refused(host):
    with pytest.raises(InvalidArgument, match="is no host"):
        SshProvider(hosts={host: HOST})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """A real server of SSH on a port of this machine; the settings that reach it as `host`."""
    daemon = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    if daemon is None or os.getuid() != 0:
        pytest.skip("needs root and sshd, which `make apt` installs (openssh-server)")
    port = ports.free()
    for name in ("server", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    (tmp_path / "authorized").write_bytes((tmp_path / "client.pub").read_bytes())
    public = (tmp_path / "server.pub").read_text().split()[:2]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {' '.join(public)}\n")
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/server\nAuthorizedKeysFile {tmp_path}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nSetEnv HOME={tmp_path}\n"
        f'ForceCommand cd {tmp_path} && exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    (tmp_path / "ssh_config").write_text(
        f"Host host\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {tmp_path}/client\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {tmp_path}/known\n"
    )
    os.makedirs("/run/sshd", exist_ok=True)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([daemon, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=log)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield tmp_path
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_a_host_is_claimed_by_a_real_server(server):
    check(Machines.ssh("lab", SshProvider(hosts={"host": HOST}, config=str(server / "ssh_config"))))
    (server / "known").write_text("")
    stranger = Machines.ssh("lab", SshProvider(hosts={"host": HOST}, config=str(server / "ssh_config")))
    with pytest.raises(Unavailable, match="host cannot be reached"):
        stranger.list()
