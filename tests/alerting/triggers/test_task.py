"""Triggers on a fake clock, with real commands, a real web server and real kills."""

import hashlib
import hmac
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from argosy.alerting.triggers import command, policy, runner
from argosy.alerting.triggers import task as tasks
from argosy.spec.alerts import Webhook
from argosy.spec.trigger import Command
from argosy.store import ledger
from tests.alerting.kit import web
from tests.alerting.triggers.kit import World, drop
from tests.alerting.triggers.kit import command as python

TELL = """
import json, os, pathlib
told = json.loads(pathlib.Path(os.environ["ARGOSY_TRIGGER"]).read_text())
pathlib.Path("told").write_text(told["id"])
print("well", told["id"])
"""
WAIT = """
import os, sys, time
open("began", "a").write(f"{os.getpid()} ")
while not os.path.exists("go"):
    time.sleep(0.01)
sys.exit(STATUS)
"""


def waiting(status: int = 0) -> str:
    """Code that notes its start, and ends once there is a file `go`."""
    return WAIT.replace("STATUS", str(status))


@pytest.fixture
def made(tmp_path):
    worlds = []

    def make(*declared, **more):
        worlds.append(World(tmp_path, *declared, **more))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def test_what_fires_is_run_and_its_end_is_kept(made):
    world = made(drop(python(TELL)))
    world.turn()
    world.find(0.79)
    world.turn()
    assert world.runs() == []
    world.find(0.6)
    world.turn()
    run = world.until(lambda run: run.over)
    assert (run.id, run.phase, run.status, run.tries, run.error) == (f"shop/retrain@{world.now:.0f}", "done", 0, 1, "")
    assert (world.folder(run) / "told").read_text() == run.id
    assert f"well {run.id}" in command.log(world.home, run).read_text()
    told = world.document(run)
    assert (told["endpoint"], told["version"], told["model"], told["metric"]) == ("shop", "1", "shop:1", "auroc")
    assert (told["when"], told["store"]) == ("realised_drop", "s3://b/p")
    assert told["reason"].startswith("realised auroc of version 1 is 0.600 (0.580 to 0.620)")
    assert told["findings"][0]["effect"] == 0.6
    assert told["labelled"][:4] == ["argosy", "feedback", "export", "shop"]
    assert told["since"] == "1970-01-12T13:46:50Z"
    with world.database.read() as connection:
        entries = [each for each in ledger.entries(connection, "shop") if each.event.startswith("trigger")]
    assert [(each.event, each.body["run"]) for each in entries] == [("trigger", run.id), ("trigger-end", run.id)]
    assert entries[0].reason == run.reason
    assert (entries[1].body["phase"], entries[1].body["status"]) == ("done", 0)
    assert world.problems == {"shop": []}
    world.turn()
    assert len(world.runs()) == 1


def test_a_command_that_fails_is_told_until_one_does_not(made):
    world = made(drop(python("import sys; sys.exit(7)")))
    world.turn()
    world.find()
    world.turn()
    run = world.until(lambda run: run.over)
    assert (run.phase, run.status, run.error) == ("failed", 7, "exit status 7")
    problem = world.problems["shop"][0]
    assert (problem.kind, problem.subject, problem.title) == ("trigger", "retrain", "the trigger 'retrain' failed")
    assert "exit status 7" in problem.reason
    world.declare(drop(python("")))
    world.find()
    world.turn()
    assert world.until(lambda run: run.over).phase == "done"
    assert world.problems["shop"] == []


def test_a_command_that_hangs_is_ended_with_its_children(made):
    code = (
        "import subprocess, time; open('pid', 'w').write(str(subprocess.Popen(['sleep', '600']).pid)); time.sleep(600)"
    )
    world = made(drop(python(code, timeout=5.0)))
    world.turn()
    world.find()
    world.turn()
    run = world.until(lambda run: run.over)
    assert (run.phase, run.status, run.error) == ("failed", -signal.SIGTERM, "ended after 5 s, its timeout")
    assert gone(int((world.folder(run) / "pid").read_text()))


def stat(pid: int) -> list[str]:
    """Its state, its parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def gone(pid: int, seconds: float = 60.0) -> bool:
    """Whether a process ends, or only waits to be buried."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if stat(pid)[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (("no-such-program",), "no-such-program cannot be started: No such file"),
        (("/etc/passwd",), "/etc/passwd cannot be started: Permission denied"),
    ],
)
def test_a_program_that_is_not_there_is_told(made, what, said):
    world = made(drop(Command(argv=what)))
    world.turn()
    world.find()
    world.turn()
    run = world.until(lambda run: run.over)
    assert (run.phase, run.status) == ("failed", None)
    assert said in run.error


def test_arguments_and_variables_reach_the_command_as_they_are(made):
    code = "import json, os, sys; json.dump([sys.argv[1:], dict(os.environ)], open('seen', 'w'))"
    hostile = ("$(touch pwned)", "; touch pwned", "`id`", "ü\n\t'\"", "--", "")
    what = Command(argv=(sys.executable, "-c", code, *hostile), environ={"TOKEN": "$SECRET", "PLAIN": "a b"})
    outside = {"SECRET": "s3cr3t", "OTHER": "hidden", "PATH": "/usr/bin:/bin", "ARGOSY_DRIFT_EVERY": "300"}
    world = made(drop(what), environ=outside | {"ARGOSY_REPLICA": "x", "LC_ALL": "C.UTF-8"})
    world.turn()
    world.find()
    world.turn()
    run = world.until(lambda run: run.over)
    assert run.phase == "done"
    arguments, given = msgspec.json.decode((world.folder(run) / "seen").read_bytes())
    assert arguments == list(hostile)
    assert (given["TOKEN"], given["PLAIN"], given["ARGOSY_HOME"]) == ("s3cr3t", "a b", str(world.home.root))
    assert (given["ARGOSY_DRIFT_EVERY"], given["LC_ALL"]) == ("300", "C.UTF-8")
    assert given["PATH"].endswith(":/usr/bin:/bin")
    assert not {"SECRET", "OTHER", "ARGOSY_REPLICA"} & given.keys()
    assert list(world.home.root.rglob("pwned")) == []


def test_a_variable_that_is_not_set_is_told(made):
    world = made(drop(python("", environ={"TOKEN": "$NOBODY"})))
    world.turn()
    world.find()
    world.turn()
    assert "NOBODY is not set" in world.until(lambda run: run.over).error


def test_while_a_command_runs_its_trigger_rests(made):
    world = made(drop(python(waiting())))
    world.turn()
    world.find()
    world.turn()
    world.find()
    world.turn()
    (run,) = world.runs()
    (world.folder(run) / "go").touch()
    world.until(lambda run: run.over)
    world.find()
    world.turn()
    assert len(world.runs()) == 2


def test_a_webhook_is_posted_signed_and_tried_again_with_the_same_id(made):
    with web() as site:
        site.statuses = [503]
        world = made(drop(Webhook(url=f"{site.url}/hook", secret="$HOOK")), environ={"HOOK": "k"})
        world.turn()
        world.find()
        world.turn()
        run = world.runs()[0]
        assert (run.phase, run.tries) == ("due", 1)
        assert "503" in run.error
        world.turn()
        assert len(site.seen) == 1
        world.now += 3
        world.turn()
    run = world.runs()[0]
    assert (run.phase, run.tries, run.error) == ("done", 2, "")
    assert [headers["idempotency-key"] for _, headers, _ in site.seen] == [run.id, run.id]
    _, headers, body = site.seen[1]
    assert body.decode() == run.document
    assert headers["x-argosy-signature"] == "sha256=" + hmac.new(b"k", body, hashlib.sha256).hexdigest()


def test_a_webhook_that_refuses_is_given_up(made):
    with web() as site:
        site.statuses = [404]
        world = made(drop(Webhook(url=site.url)))
        world.turn()
        world.find()
        world.turn()
    run = world.runs()[0]
    assert (run.phase, "404" in run.error) == ("failed", True)
    assert len(world.problems["shop"]) == 1


def test_what_is_declared_no_more_is_not_run(made):
    world = made(drop(python(TELL)))
    world.turn()
    world.find()
    world.triggers.evaluate()
    world.declare()
    world.turn()
    (run,) = world.runs()
    assert (run.phase, run.error) == ("failed", "the trigger 'retrain' is declared no more")
    assert policy.STATES.all(world.database) == {}
    assert world.problems["shop"] == []


def test_a_trigger_looks_at_nothing_from_before_it_was_declared(made):
    world = made(drop(python(TELL)))
    world.find()
    world.turn()
    world.turn()
    assert world.runs() == []


def test_runs_and_their_files_are_forgotten_after_ninety_days(made):
    world = made(drop(python(TELL)))
    world.turn()
    world.find()
    world.turn()
    run = world.until(lambda run: run.over)
    world.now = time.time() + 91 * 86400
    world.turn()
    assert world.runs() == []
    assert not world.folder(run).exists()


KILLED = """
import asyncio, os, pathlib, signal, sys
from tests.alerting.triggers.kit import World, command, drop
from argosy.alerting.triggers import task
world = World(pathlib.Path(sys.argv[1]), drop(command(sys.argv[3])))
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before":
    task.command.start = die
world.turn()
world.find()
world.triggers.evaluate()
if sys.argv[2] == "noted":
    die()
asyncio.run(world.triggers.act())
while not list(world.home.root.rglob("began")):
    pass
die()
"""


def killed(root, when: str, code: str) -> None:
    """A controller that is killed: once a firing is `noted`, `before` its command starts, or while it is `running`."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), when, code], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("when", "tries"), [("noted", 1), ("before", 2)])
def test_a_kill_before_the_command_starts_loses_nothing(made, tmp_path, when, tries):
    killed(tmp_path, when, "open('began', 'a').write('x')")
    world = made()
    assert [run.phase for run in world.runs()] == ["due" if when == "noted" else "running"]
    run = world.until(lambda run: run.over)
    assert (run.phase, run.tries) == ("done", tries)
    assert (world.folder(run) / "began").read_text() == "x"


def test_a_command_outlives_the_controller_and_is_not_run_twice(made, tmp_path):
    code = waiting(3)
    killed(tmp_path, "running", code)
    world = made()
    for _ in range(3):
        world.turn()
    (run,) = world.runs()
    assert run.phase == "running"
    (world.folder(run) / "go").touch()
    run = world.until(lambda run: run.over)
    assert (run.phase, run.status, run.tries) == ("failed", 3, 1)
    assert len((world.folder(run) / "began").read_text().split()) == 1


def test_a_command_whose_runner_is_killed_is_run_again_once_it_is_gone_and_not_for_ever(made):
    code = waiting()
    world = made(drop(python(code)))
    world.turn()
    world.find()
    world.turn()
    for number in range(1, tasks.STARTS + 1):
        began = world.folder(world.runs()[0]) / "began"
        wait_for(lambda path=began, n=number: path.exists() and len(path.read_text().split()) == n)
        child = int(began.read_text().split()[-1])
        os.kill(int(stat(child)[1]), signal.SIGKILL)
        for _ in range(3):
            world.turn()
        assert world.runs()[0].tries == number, "while the command lives it is not started again"
        os.kill(child, signal.SIGKILL)
        assert gone(child)
        world.turn()
    run = world.until(lambda run: run.over)
    assert run.error == "it was started 3 times, and gone each time before it had ended"


def wait_for(good, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_orderly_end_leaves_no_verdict_so_that_it_is_run_again(made):
    code = waiting()
    world = made(drop(python(code)))
    world.turn()
    world.find()
    world.turn()
    (run,) = world.runs()
    wait_for((world.folder(run) / "began").exists)
    command.end(world.home)
    assert runner.ended(world.folder(run)) is None
    assert not runner.alive(world.folder(run))
    world.triggers = world.fresh()
    (world.folder(run) / "go").touch()
    run = world.until(lambda run: run.over)
    assert (run.phase, run.tries, len((world.folder(run) / "began").read_text().split())) == ("done", 2, 2)
