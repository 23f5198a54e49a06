"""`argosy optimize` on magika's network and files of this machine: agreement, speed and time of the search.

    python -m prove.optimize --each 80 --minutes 5

The rows are files of known kinds, as in the demo. The exit status is 1 unless a version with at least 99 % of the top
classes at twice the speed was found in time, and the default and the dynamic recipe were rejected.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from argosy.cli.output import table
from argosy.cli.show import TRIES
from argosy.packaging.optimize.optimize import OptimizeOptions, optimize
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy_examples import filetypes

AGREEMENT, SPEEDUP = 0.99, 2.0


def prove(folder: Path, each: int, minutes: float) -> bool:
    """Whether all of it holds."""
    filetypes.EACH = each
    case = filetypes.prepare(folder, click.echo)
    rows = folder / "files.npz"
    np.savez(rows, bytes=case.inputs[0].array)
    store = open_store(Home(folder / "home").create(), Settings())
    push(case.source, name="magika", store=store, options=PushOptions(), report=lambda _: None)
    began = time.monotonic()
    found, version = optimize(store, "magika:1", OptimizeOptions(rows=rows, minutes=minutes), click.echo)
    took = time.monotonic() - began
    click.echo(f"{found.processor}: {found.calibration_rows} rows to calibrate on, {found.test_rows} to judge by")
    table(TRIES, found.tries)
    tried = {one.recipe: one for one in found.tries}
    best = tried.get(found.recipe)
    goals = {
        f"found by itself: {version.ref if version else 'none'}": version is not None,
        "agreement of at least 99 %": best is not None and (best.agreement or 0) >= AGREEMENT,
        "at least twice as fast": best is not None and best.speedup >= SPEEDUP,
        f"in {took:.0f} s of {minutes:g} minutes": took <= minutes * 60,
        "the default recipe is rejected": bool(tried["int8-default"].rejected),
        "the dynamic recipe is rejected": bool(tried["int8-dynamic"].rejected),
    }
    for goal, met in goals.items():
        click.echo(f"{'met   ' if met else 'missed'}  {goal}")
    return all(goals.values())


def main() -> int:
    """0 where all holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=80, help="files of a kind, at most")
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="po") as folder:
        return 0 if prove(Path(folder), options.each, options.minutes) else 1


if __name__ == "__main__":
    sys.exit(main())
