"""`python -m attack --seconds 600`: the attacks of the tests, then fuzzing, for about as long as told.

The tests that attack run first, hostile bytes among them for a tenth of the time; then each target of `attack.targets`
is fuzzed for an equal share of what is left. What is found is named at the end, and lies in
build/attack.
"""

import argparse
import os
import subprocess
import sys
import time
from importlib.util import find_spec

from attack.targets import TARGETS

TESTS = (
    *(
        "tests/attack",
        "tests/client/test_trust.py",
        "tests/api/test_attack.py",
        "tests/api/test_token_holder.py",
    ),
    *("tests/api/test_fuzz.py", "tests/engines/test_mlflow_untrusted.py", "tests/engines/test_skops_file.py"),
    *("tests/engines/test_unpickle.py", "tests/gateway/test_attack.py", "tests/gateway/test_first_message.py"),
    *("tests/gateway/test_secrecy.py", "tests/process/test_hostile.py", "tests/serving/test_costs.py"),
    *("tests/serving/test_hostile_http.py", "tests/serving/test_schemathesis.py", "tests/packaging/test_checkout.py"),
)
"""Tests that attack as outsiders do, the slow ones of them, too."""
LEAST = 5
"""Seconds for one target."""


def tests(seconds: float) -> str:
    """Run the attacks that are tests; what is wrong, empty where nothing is."""
    print(f"== tests, hostile bytes for {seconds:.0f} s each", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not torch", "-n", "2", "--dist", "loadgroup", *TESTS]
    done = subprocess.run(command, env={**os.environ, "ATTACK_SECONDS": str(seconds)}, check=False)
    return f"tests that attack: pytest ended with status {done.returncode}" if done.returncode else ""


def fuzz(target: str, seconds: int) -> str:
    """Fuzz one target; what is wrong."""
    print(f"== {target} for {seconds} s", flush=True)
    command = [sys.executable, "-m", "attack.fuzz", target, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    print(done.stdout[-2000:], done.stderr[-4000:], sep="\n", flush=True)
    return f"{target}: see build/attack/{target}-*"


def main() -> int:
    """Attack. 0: nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--no-tests", action="store_true", help="fuzz alone")
    options = parser.parse_args()
    begun = time.monotonic()
    found = [] if options.no_tests else [tests(max(2.0, options.seconds / 10 / 3))]
    if find_spec("atheris"):
        left = options.seconds - (time.monotonic() - begun)
        share = max(LEAST, int(left / len(TARGETS)))
        found += [fuzz(target, share) for target in TARGETS]
    else:
        print("nothing was fuzzed: atheris is not installed (it has wheels for Linux on x86-64 alone)")
    found = [each for each in found if each]
    print("\n".join(found) or f"nothing was found in {time.monotonic() - begun:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
