"""`python -m prove.packing`: how much of the GPUs stays unallocated, beside Fragmentation Gradient Descent.

A seeded generator has the shares of the openb trace: 0.92 % of pods ask for 2, 4 or 8 GPUs; of the others 44 % ask for
a fraction with p10, p50 and p90 at 0.26, 0.47 and 0.81, the rest for one. Pods come until they ask for as much as there
is; one that fits nowhere is left out. All rules expect the same sample, of another day. `scarce`: with half the
processors. The rule was tuned on the first half of the seeds; the second is reported. The exit status is 1 where more
stays unallocated than under FGD.
"""

import argparse
import sys

import numpy as np

from argosy_simulators.packing import Ask, Machine, Packing, Rule

RULES: tuple[Rule, ...] = ("best", "fgd", "argosy")
NODES, SEEDS, GOAL = 300, 10, 0.9


def machines(seed: int, nodes: int, cpus: float) -> list[Machine]:
    """Nodes of 1 to 8 GPUs."""
    random = np.random.default_rng(seed)
    gpus = random.choice([1, 2, 4, 8], size=nodes, p=[0.02, 0.33, 0.1, 0.55])
    large = random.choice([96, 128, 128, 192], size=nodes)
    small = gpus * random.choice([12, 16, 16, 24, 48], size=nodes)
    there = np.where(gpus == 8, large, small) * cpus
    return [Machine(gpus=int(count), cpus=float(each)) for count, each in zip(gpus, there, strict=True)]


def asks(seed: int, total: float) -> list[Ask]:
    """Pods that ask for `total` GPUs together."""
    random = np.random.default_rng(seed)
    found, asked = list[Ask](), 0.0
    while asked < total:
        if random.random() < 75 / 8152:
            gpus = float(random.choice([2, 4, 8], p=[0.25, 0.25, 0.5]))
        elif random.random() < 0.44:
            gpus = round(float(np.interp(random.random(), [0, 0.1, 0.5, 0.9, 1], [0.05, 0.26, 0.47, 0.81, 0.99])), 2)
        else:
            gpus = 1.0
        if gpus < 1:
            cpus = random.choice([2, 4, 6, 8, 12, 16], p=[0.1, 0.2, 0.2, 0.25, 0.15, 0.1])
        else:
            cpus = min(88, gpus * random.choice([4, 8, 12, 16, 24], p=[0.2, 0.35, 0.25, 0.12, 0.08]))
        found.append(Ask(gpus=gpus, cpus=float(cpus)))
        asked += gpus
    return found


def unallocated(seed: int, nodes: int, cpus: float = 1.0) -> list[float]:
    """The share of the GPUs that is free at the end, by rule."""
    there = machines(seed, nodes, cpus)
    total = sum(each.gpus for each in there)
    expected, coming = asks(seed + 5000, total), asks(seed + 1000, total)
    found = list[float]()
    for rule in RULES:
        packing = Packing(there, expected, rule=rule)
        for each in coming:
            packing.put(each)
        found.append(packing.unallocated)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of which the second half is reported")
    options = parser.parse_args(arguments)
    halves = {"tuned on": range(options.seeds // 2), "reported": range(options.seeds // 2, options.seeds)}
    print(f"unallocated GPUs, {options.nodes} nodes\n  {'':<20}" + "".join(f"{rule:>10}" for rule in RULES))
    share = 0.0
    for setting, cpus in (("scarce", 0.5), ("as usual", 1.0)):
        for half, seeds in halves.items():
            mean = np.mean([unallocated(seed, options.nodes, cpus) for seed in seeds], axis=0)
            print(f"  {setting + ', ' + half:<20}" + "".join(f"{each:>10.2%}" for each in mean))
            share = float(mean[2] / mean[1])
    missed = share > 1
    print(f"{'missed' if missed else 'held'}: {share - 1:+.1%} against FGD (floor 0 %, goal {GOAL - 1:.0%})")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
