"""Known weaknesses of the pinned dependencies: `make audit`. Asks the advisories of PyPI by pip-audit.

Exit status 0: every pin was looked up and is in no advisory; 1: some are; 2: some could not be looked up.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = ("requirements/demo.txt", "requirements/dev.txt", "requirements/uv.txt")


def looked_up(pip_audit: str, pins: str) -> list[dict[str, Any]]:
    """What pip-audit says of each pin of a file. Raises RuntimeError where it says nothing."""
    command = [
        pip_audit,
        "-r",
        pins,
        "--require-hashes",
        "--disable-pip",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer") from None


def main(pip_audit: str) -> int:
    """Look all up, and tell."""
    found: dict[str, dict[str, Any]] = {}
    for pins in PINS:
        try:
            found |= {f"{each['name']} {each.get('version', '')}": each for each in looked_up(pip_audit, pins)}
        except RuntimeError as error:
            print(f"no advisories can be reached from here ({error}): {pins} was not audited")
            return 2
    weak = {pin: each["vulns"] for pin, each in found.items() if each.get("vulns")}
    skipped = [pin for pin, each in found.items() if "skip_reason" in each]
    for pin, advisories in weak.items():
        for each in advisories:
            print(f"{pin}: {each['id']}, mended in {', '.join(each['fix_versions']) or 'no version yet'}")
    if skipped and len(skipped) == len(found):
        print(f"no advisories can be reached from here: none of {len(found)} pins was audited")
    elif skipped:
        print(f"not audited, since no advisories of them can be reached: {', '.join(skipped)}")
    print(f"{len(found) - len(skipped)} of {len(found)} pins audited in {', '.join(map(str, PINS))}: {len(weak)} weak")
    return 1 if weak else 2 if skipped else 0


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1]))))
