"""Coverage-guided fuzzing of targets, one after the other: `python -m attack.fuzz TARGET… --seconds 60`; libFuzzer by
atheris.

Starts from the target's seeds and from `attack/corpus/TARGET`, where inputs that were findings once are kept. What it
finds is written to `build/attack/TARGET-crash-…`, and ends this with a status above 0 once all targets had their turn.
"""

import argparse
import functools
import os
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build") / "attack"
INPUT_BYTES = 16 * 1024
MEMORY_MB = 2048
HANG_SECONDS = 20


def kept(name: str) -> list[bytes]:
    """Inputs of this target that were findings once."""
    folder = CORPUS / name
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def main() -> None:
    """Fuzz each target, in a process of its own, until the time is up or something is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=0, help="so many inputs, the same each time, and no time limit")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: it is in the dev requirements for Linux on x86-64; run  make setup")
    with atheris.instrument_imports(include=["argosy", "argosy_edge"]):
        from attack import targets
    if unknown := set(options.targets) - targets.TARGETS.keys():
        sys.exit(f"there is no target '{min(unknown)}'; there are {', '.join(targets.TARGETS)}")
    FOUND.mkdir(parents=True, exist_ok=True)
    limits = {"runs": options.runs, "seed": 1} if options.runs else {"max_total_time": options.seconds}
    limits |= {"max_len": INPUT_BYTES, "rss_limit_mb": MEMORY_MB, "timeout": HANG_SECONDS, "verbosity": 0}
    failed: list[str] = []
    for name in options.targets:
        target = targets.TARGETS[name]
        with tempfile.TemporaryDirectory(prefix="argosy-corpus-") as folder:
            for number, data in enumerate([*target.seeds(), *kept(name)]):
                (Path(folder) / f"seed-{number}").write_bytes(data)
            told = {**limits, "artifact_prefix": f"{FOUND}/{name}-"}
            print(f"{name}:", file=sys.stderr, flush=True)
            if (child := os.fork()) == 0:  # libFuzzer ends its process
                atheris.Setup(
                    [sys.argv[0], folder, *(f"-{key}={value}" for key, value in told.items())],
                    functools.partial(targets.attack, target),
                )
                atheris.Fuzz()
            if os.waitpid(child, 0)[1]:
                failed.append(name)
    if failed:
        sys.exit(f"found in {', '.join(failed)}")


if __name__ == "__main__":
    main()
