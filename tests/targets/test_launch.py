"""What a replica is told, and what its start can meet."""

import errno
import json
import os
import sys
from pathlib import Path

import msgspec
import pytest

from argosy.serving.config import ReplicaConfig
from argosy.spec.endpoint import Resources, Runtime
from argosy.spec.errors import Internal, StorageFull
from argosy.spec.revision import Revision
from argosy.spec.settings import Home
from argosy.spec.strict import decode
from argosy.targets.launch import Launcher, Unpacked, configuration, new_place, prepare

REVISION = Revision(
    id="abcdef0123", endpoint="mine", model="digits", version="7", digest="sha256:1", runtime=Runtime(threads=0)
)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    place = Home(tmp_path_factory.mktemp("h")).create()
    prepare(place)
    return place


def test_a_replica_answers_to_its_endpoints_name_with_threads_of_its_own(home: Home):
    place = new_place(home, REVISION, 2)
    told = configuration(place, REVISION, Unpacked(Path("/p")), threads=3)
    assert (place.replica, told.models[0].name, told.models[0].version) == ("mine-abcdef-2", "mine", "7")
    assert told.runtime.threads == 3
    assert (told.http, told.grpc) == (place.http, place.grpc)
    assert new_place(home, REVISION, 2).http != place.http


def test_declared_cores_are_the_threads_of_the_engine(home: Home):
    for cpu, runtime, threads in ((1.5, Runtime(), 2), (2, Runtime(threads=1), 1), (0, Runtime(), 3)):
        declared = msgspec.structs.replace(REVISION, resources=Resources(cpu=cpu), runtime=runtime)
        told = configuration(new_place(home, declared, 0), declared, Unpacked(Path("/p")), threads=3)
        assert told.runtime.threads == threads


def test_the_file_is_what_the_replica_reads(home: Home):
    place = new_place(home, REVISION, 0)
    launcher = Launcher(home=home, command=("/bin/cat",))
    process = launcher.start(place, REVISION, 0, package=Unpacked(Path("/p")), threads=1)
    while not process.ended():
        os.sched_yield()
    assert process.status == 0
    assert decode(place.log.read_bytes(), ReplicaConfig, "it") == configuration(
        place, REVISION, Unpacked(Path("/p")), 1
    )
    place.clear()
    assert list((home.run / "r").iterdir()) == []


def test_the_mark_is_in_the_environment_from_the_first_moment(home: Home):
    code = "import os, sys; print(os.environ['ARGOSY_REPLICA']); print(os.getsid(0) == os.getpid())"
    place = new_place(home, REVISION, 0)
    launcher = Launcher(home=home, command=(sys.executable, "-S", "-c", code))
    process = launcher.start(place, REVISION, 0, package=Unpacked(Path("/p")), threads=1)
    while not process.ended():
        os.sched_yield()
    mark, leader = place.log.read_text().splitlines()
    assert json.loads(mark.split(":", 2)[2])["revision"]["id"] == REVISION.id
    assert leader == "True"


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EACCES, Internal)])
def test_a_full_disk_is_told_apart(home: Home, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]):
    def refuse(self: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(kind, match="mine-abcdef-0"):
        Launcher(home=home).start(new_place(home, REVISION, 0), REVISION, 0, package=Unpacked(Path("/p")), threads=1)


def test_a_command_that_is_not_there_is_named(home: Home):
    place = new_place(home, REVISION, 0)
    with pytest.raises(Internal, match="/no/such"):
        Launcher(home=home, command=("/no/such",)).start(place, REVISION, 0, package=Unpacked(Path("/p")), threads=1)
