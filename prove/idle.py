"""`python -m prove.idle`: deferred work in the idle slots of replicas that serve requests. `--live WEIGHTS`: with
engines that run (`prove/idlelive.py`).

The hour of conversations of Azure (2023) on replicas of 8 slots, as many as its peak needs and two fewer. A step takes
as long as Llama 2 70B on 8 H100 takes by batch size (splitwise, prompts of 512 tokens). Items are conversations of the
other half. The policy was tuned on the first half; the second is reported. The exit status is 1 where less than 60 % of
the idle slot-seconds go to items that end, or the 99th percentile of requests is more than 5 % above that without work.
"""

import argparse
import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import msgspec

from argosy.capacity.idle import IdlePolicy
from argosy_simulators.idle import Filling, IdleRun, Pool, greedy, nothing, ours, simulate, slow
from argosy_simulators.trace import Trace, read

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TRACE = DATA / "azure_llm" / "AzureLLMInferenceTrace_2023_conv.csv"
PROFILE = DATA / "throughput" / "splitwise_perf_model.csv"
SLOTS, PEAK = 8, 8
FLOOR, GOAL, SLOWER = 0.60, 0.85, 0.05


def profile() -> list[tuple[int, float]]:
    """Seconds of a token by batch size."""
    found: dict[int, list[float]] = defaultdict(list)
    with PROFILE.open() as file:
        for row in csv.DictReader(file):
            what = row["model"], row["hardware"], row["tensor_parallel"], row["prompt_size"]
            if what == ("llama2-70b", "h100-80gb", "8", "512"):
                found[int(row["batch_size"])].append(float(row["token_time"]) / 1000)
    return [(size, statistics.mean(times)) for size, times in found.items()]


def runs(trace: Trace, replicas: int, policy: IdlePolicy, *, half: int) -> list[IdleRun]:
    """Without work, with work that is never pushed out, and ours: on the first (0) or second (1) half."""
    middle = trace.end / 2
    first = trace.arrivals < middle
    mine, other = (first, ~first) if half == 0 else (~first, first)
    begin = 0.0 if half == 0 else middle
    part = Trace(trace.name, trace.arrivals[mine] - begin, trace.services[mine])
    pool = Pool(replicas=replicas, slots=SLOTS, slow=slow(profile(), SLOTS))
    fills = {"no work": Filling(nothing), "never pushed out": Filling(greedy), "ours": ours(policy)}
    return [simulate(name, part, pool, fill, trace.services[other], since=60.0) for name, fill in fills.items()]


def judged(found: list[IdleRun]) -> tuple[float, float]:
    """What ours fills, and by how much the 99th percentile is above that without work."""
    by = {one.policy: one for one in found}
    return by["ours"].filled, by["ours"].p99 / by["no work"].p99 - 1


def live(weights: str, *, same: bool) -> int:
    """With engines that run: see `prove/idlelive.py`."""
    from prove import idlelive

    return idlelive.main(Path(weights), same=same)


def main() -> int:
    trace, policy, passed = read(TRACE), IdlePolicy(), True
    for half, title in enumerate(("first half (tuned on)", "second half")):
        for replicas in (PEAK, PEAK - 2):
            found = runs(trace, replicas, policy, half=half)
            print(f"{title}, {replicas} replicas of {SLOTS} slots")
            print(
                f"  {'policy':<18} {'filled':>7} {'lost':>6} {'p50 s':>7} {'p99 s':>7} {'p99 wait s':>11} {'items':>6}"
            )
            for one in found:
                print(
                    f"  {one.policy:<18} {one.filled:>7.1%} {one.lost:>6.1%} {one.p50:>7.2f} {one.p99:>7.2f} "
                    f"{one.wait:>11.3f} {one.done:>6}"
                )
            filled, slower = judged(found)
            good = filled >= FLOOR and slower <= SLOWER
            passed &= good or half == 0
            print(f"  ours fills {filled:.1%} (floor {FLOOR:.0%}, goal {GOAL:.0%}), p99 {slower:+.1%} (at most +5 %)")
    print(f"policy: {msgspec.json.encode(policy).decode()}")
    return 0 if passed else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--live", metavar="WEIGHTS", default="", help="Engines of llama.cpp with these weights, in GGUF."
    )
    parser.add_argument("--same", action="store_true", help="Steps may take longer with more sequences.")
    given = parser.parse_args()
    sys.exit(live(given.live, same=given.same) if given.live else main())
