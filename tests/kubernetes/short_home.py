"""`python short_home.py FOLDER ARGUMENT...`: argosy with a short path to its home, in FOLDER, also in the configuration
that is its last argument. Where pods are processes, a volume has the path that it has on this machine, which is too
long for Unix sockets."""

import hashlib
import os
import sys
from pathlib import Path

folder, *arguments = sys.argv[1:]
home = os.environ["ARGOSY_HOME"]
link = Path(folder, hashlib.sha256(home.encode()).hexdigest()[:8])
if not link.is_symlink():
    link.symlink_to(home)
os.environ["ARGOSY_HOME"] = str(link)
if arguments[:2] == ["serve", "--config"]:
    config = link.with_suffix(".json")
    config.write_text(Path(arguments[2]).read_text().replace(home, str(link)))
    arguments[2] = str(config)
os.execv(sys.executable, [sys.executable, "-m", "argosy", *arguments])
