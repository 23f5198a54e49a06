"""What can keep a platform from coming up, and how it says so."""

import asyncio
import errno
import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import argosy.platform.__main__ as control
from argosy.platform.detach import announced, detach
from argosy.platform.down import down
from argosy.platform.home import gateway_config, prepare
from argosy.platform.lock import WAITS, Lock, holder
from argosy.serving.port import take
from argosy.spec.errors import Conflict, InvalidArgument, StorageFull
from argosy.spec.settings import ControlSettings, GatewaySettings, Home, Settings
from tests.platform.up import Up


async def test_detached_it_answers_is_alone_on_its_home_and_ends(home: Home, settings: Settings):
    lines: list[str] = []
    running = await detach(home, settings, report=lines.append)
    assert stat.S_IMODE((home.run / "token").stat().st_mode) == 0o600
    assert holder(home) == running.pid
    with pytest.raises(Conflict, match=str(running.pid)):
        await detach(home, settings, report=lines.append)
    assert await down(home, settings, report=lines.append)
    assert holder(home) is None
    assert not (home.run / "control.json").exists()
    assert not (home.run / "lock").exists()


@pytest.mark.slow
async def test_a_detached_standby_waits_is_alone_takes_over_and_ends(home: Home, settings: Settings):
    lines: list[str] = []
    leader = await detach(home, settings, report=lines.append)
    standby = await detach(home, settings, report=lines.append, standby=True)
    assert (standby.url, lines[-1]) == ("", f"standby   process {leader.pid} leads")
    with pytest.raises(Conflict, match=f"a standby already waits.*{standby.pid}"):
        await detach(home, settings, report=lines.append, standby=True)
    os.kill(leader.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while announced(home, standby.pid) is None:
            await asyncio.sleep(0.02)
    await detach(home, settings, report=lines.append, standby=True)
    assert await down(home, settings, report=lines.append)
    assert any("the standby in process" in line for line in lines)
    assert (holder(home), holder(home, WAITS)) == (None, None)
    assert not (home.run / "control.json").exists()


@pytest.mark.parametrize("section", ["control", "gateway"])
async def test_a_port_in_use_is_named_with_its_setting(home: Home, section: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "gateway" if section == "control" else "control"
        home.config.write_text(f"{section}: {{port: {port}}}\n{other}: {{port: 0}}\n")
        with pytest.raises(Conflict, match=rf"port {port} .*{section}\.port"):
            await detach(home, Settings(), report=print)
    assert not (home.run / "lock").exists()


def test_a_second_up_names_the_first(home: Home, start: Callable[..., Up]):
    first = start().ready()
    second = start()
    assert second.process.wait(60) == Conflict.exit
    assert f"in process {first.process.pid}" in second.out.read_text()
    assert first.stop() == 0


def test_a_lock_is_given_back_and_names_its_holder(home: Home):
    with Lock(home), pytest.raises(Conflict, match=str(os.getpid())):
        Lock(home).__enter__()
    assert holder(home) is None
    with Lock(home):
        pass


def test_a_home_that_cannot_be_used_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="cannot be written"):
        prepare(Home(tmp_path / "file" / "home"), Settings())
    with pytest.raises(InvalidArgument, match="ARGOSY_HOME"):
        prepare(Home(tmp_path / ("x" * 100)), Settings())


def test_other_machines_reach_the_control_api_only_if_that_is_meant(home: Home):
    control = ControlSettings(host="0.0.0.0", port=0)
    with pytest.raises(InvalidArgument, match=r"control\.expose"):
        prepare(home, Settings(control=control))
    prepare(home, Settings(control=msgspec.structs.replace(control, expose=True)))


def test_half_a_certificate_and_a_foreign_host_are_refused(home: Home, tmp_path: Path):
    with pytest.raises(InvalidArgument, match="go together"):
        gateway_config(home, GatewaySettings(tls_cert="/x"))
    with pytest.raises(InvalidArgument, match="cannot be read"):
        gateway_config(home, GatewaySettings(tls_cert=str(tmp_path / "no"), tls_key=str(tmp_path / "no")))
    with pytest.raises(InvalidArgument, match=r"gateway\.host"):
        take("192.0.2.1", 0, "gateway.port")
    with pytest.raises(InvalidArgument, match=r"control\.port must be 0 to 65535, not 65536"):
        take("127.0.0.1", 65536, "control.port")


async def test_a_full_disk_does_not_keep_down_from_its_work(home: Home, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    home.run.mkdir(exist_ok=True)
    monkeypatch.setattr(os, "pwrite", full)
    assert not await down(home, Settings(), report=print)


def test_a_disk_that_is_full_has_its_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(control, "up", full)
    assert control.main() == StorageFull.exit
    assert capsys.readouterr().err.startswith("storage_full: no space left")
