"""`python -m prove.deadline`: what work with a deadline costs on spot capacity, beside Uniform Progress.

48 hours of work within 52, 70 and 92 hours, a changeover of 3 and of 12 minutes, spot at 0.3 of on demand; windows are
spread over 45 days of nine zones of AWS. One region: each zone by itself. Many: all nine at once, beside Uniform
Progress in one of them and beside Uniform Progress that moves to whichever has capacity. The rates a job begins with
are of the first half; the second is reported, in which each window begins without having seen anything. The exit status
is 1 where one region saves less than 10 %, or a deadline is missed.
"""

import argparse
import sys

from argosy_simulators.deadline import Windows, compare, job
from argosy_simulators.spot import SpotTrace, read
from prove.spot import DATA

FLOOR = 0.10
SETTINGS = [(deadline, changeover) for deadline in (52, 70, 92) for changeover in (0.05, 0.2)]
HALVES = {"first half (the rates are of it)": (0.0, 0.5), "second half": (0.5, 1.0)}
OTHER = "uniform progress"


def told(deadline: int, changeover: float, found: Windows, beside: float) -> str:
    """A row."""
    costs = "".join(f"{line.cost:>10.3f}" for line in found.lines)
    saved = 1 - found.cost("argosy") / beside
    return f"  {deadline:>5} h {60 * changeover:>7.0f} min{costs}{found.bound:>8.3f}{-saved:>9.1%}"


def half(trace: SpotTrace, count: int) -> tuple[float, float, float, int]:
    """The shares that are saved in one region, in many against one and against those that move; misses."""
    sums, least, missed = [0.0] * 4, 0.0, 0
    for name, alone in (("one region", True), ("many", False)):
        print(f"  {name:<17}" + "".join(f"{each:>10}" for each in ("argosy", "uniform", "greedy")) + "   bound   saved")
        for deadline, changeover in SETTINGS:
            of = job(trace, work=48, deadline=deadline, changeover=changeover, price=0.3)
            found = compare(trace, of, count if alone else 3 * count, alone=alone)
            missed += sum(line.missed for line in found.lines if line.policy == "argosy")
            print(told(deadline, changeover, found, found.cost(OTHER)), flush=True)
            sums[2 * (not alone)] += found.cost("argosy")
            sums[2 * (not alone) + 1] += found.cost(OTHER)
            least += 0.0 if alone else found.bound
    ours, uniform, many, moving = sums
    print(f"  nobody saves more in many than {1 - least / uniform:.1%} of Uniform Progress in one")
    return 1 - ours / uniform, 1 - many / uniform, 1 - many / moving, missed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=12, help="of each zone and setting")
    count = parser.parse_args(arguments).windows
    trace = read(DATA)
    one = many = moving = 0.0
    missed = 0
    for name, (begin, end) in HALVES.items():
        print(name)
        one, many, moving, late = half(trace.part(begin, end), count)
        missed += late
    lost = one < FLOOR or missed > 0
    verdict = "missed" if lost else "held"
    print(
        f"{verdict}: {-one:.1%} in one region (floor -10 %, goal -16 %), {-many:.1%} in many (goal -48 %), "
        f"{-moving:.1%} where Uniform Progress moves as well; {missed} deadlines missed"
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
