"""Stands in for `argosy.client.job`: does what the model of its job says."""

import os
import signal
import sys
import time
from pathlib import Path

from argosy.jobs.folder import Folder, Progress, Result

folder = Folder(Path(sys.argv[1]))
request = folder.request()
print("begins", request.batch.model, request.batch.output, flush=True)
folder.report(Progress(rows=1, total=2, rate=0.5))
model = request.batch.model
if model == "dies" and not (folder.path / "died").exists():
    (folder.path / "died").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if model == "wrong":
    folder.end(Result(exit=2, error="there is no column 'x'"))
    sys.exit(2)
if model == "long":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    time.sleep(60)
if model == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
folder.end(Result(exit=0, report="report.json"))
