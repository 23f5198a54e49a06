"""What is left in the log of a process that a signal has ended."""

import signal
import subprocess
import sys

import pytest

from argosy.spec import crash

DIES = """
import os, threading, time
from argosy.spec import crash

def fails():
    os.kill(os.getpid(), {number})

crash.tell()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("at work", flush=True)
fails()
"""


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL])
def test_a_process_that_crashes_says_where_and_still_ends_by_its_signal(tmp_path, number):
    program, log = tmp_path / "dies.py", tmp_path / "log"
    program.write_text(DIES.format(number=int(number)))
    with log.open("wb") as out:
        assert subprocess.run([sys.executable, str(program)], stdout=out, stderr=out, check=False).returncode == -number
    said = log.read_text()
    assert said.startswith("at work\nFatal Python error: ")
    assert f'File "{program}", line 6 in fails' in said
    words = crash.last_words(said)
    assert words.startswith("Fatal Python error: ")
    assert words.endswith(f', File "{program}", line 6 in fails')


CURRENT = "Current thread 0x1 (most recent call first):"
FIRST = ["Fatal Python error: X", "", CURRENT, '  File "a", line 1 in f', ""]
OTHER = ["Fatal Python error: Y", "", "Thread 0x2 (most recent call first):", '  File "c", line 3 in h', ""]
LAST = [CURRENT, '  File "b", line 2 in g', '  File "d", line 4 in main', ""]
MODULES = "Extension modules: a, b (total: 2)"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], ""),
        ([" ", ""], ""),
        (["one", " two ", ""], "two"),
        ([*FIRST, "started again"], "started again"),
        ([*FIRST, "started again", *OTHER, *LAST, MODULES], 'Fatal Python error: Y, File "b", line 2 in g'),
        ([*OTHER, *LAST[:-1]], 'Fatal Python error: Y, File "b", line 2 in g'),
        (["Fatal Python error: Z", "", "<no Python frame>", MODULES], "Fatal Python error: Z"),
        ([MODULES], MODULES),
        (["Traceback (most recent call last):", '  File "a", line 1, in f', "ValueError: no"], "ValueError: no"),
    ],
)
def test_the_last_words_of_a_log(lines, words):
    assert crash.last_words("\n".join(lines)) == words
