"""Coverage-guided fuzzing of one target: `python -m attack.fuzz TARGET --seconds 60`; libFuzzer by atheris.

Starts from the target's seeds and from `attack/corpus/TARGET`, where inputs that were findings once are kept. What it
finds is written to `build/attack/TARGET-crash-…`, and ends it with a status above 0.
"""

import argparse
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
    """Fuzz until the time is up or something is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=0, help="so many inputs, the same each time, and no time limit")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: it is in the dev requirements for Linux on x86-64; run  make setup")
    with atheris.instrument_imports(include=["argosy", "argosy_edge"]):
        from attack import targets
    if (target := targets.TARGETS.get(options.target)) is None:
        sys.exit(f"there is no target '{options.target}'; there are {', '.join(targets.TARGETS)}")
    FOUND.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="argosy-corpus-") as folder:
        for number, data in enumerate([*target.seeds(), *kept(options.target)]):
            (Path(folder) / f"seed-{number}").write_bytes(data)
        told = {
            **({"runs": options.runs, "seed": 1} if options.runs else {"max_total_time": options.seconds}),
            "max_len": INPUT_BYTES,
            "rss_limit_mb": MEMORY_MB,
            "timeout": HANG_SECONDS,
            "artifact_prefix": f"{FOUND}/{options.target}-",
            "verbosity": 0,
        }

        def one(data: bytes) -> None:
            targets.attack(target, data)

        atheris.Setup([sys.argv[0], folder, *(f"-{key}={value}" for key, value in told.items())], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
