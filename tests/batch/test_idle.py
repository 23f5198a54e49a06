"""A process that is idle, and the session that one of its children begins."""

import subprocess
import sys

import pytest

from argosy.batch.idle import AUTOGROUP

CHILD = """
from argosy.batch.idle import follow
import os
follow()
print(os.sched_getscheduler(0) == os.SCHED_IDLE, open("/proc/self/autogroup").read().split()[-1])
"""
PARENT = f"""
import subprocess, sys
from argosy.batch.idle import idle
idle()
print(subprocess.run([sys.executable, "-c", {CHILD!r}], capture_output=True, text=True, start_new_session=True).stdout)
"""


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group processes by session")
@pytest.mark.parametrize(("program", "said"), [(PARENT, "True 19"), (CHILD, "False 0")])
def test_who_begins_a_session_is_as_idle_as_its_parent(program: str, said: str):
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, start_new_session=True
    )
    assert done.stdout.strip() == said, done.stderr
