"""`python -m prove.hosts`: how soon a machine of a stranger that cheats is found, and how often one is that does not.

Each way to cheat 1,000 times, beginning at some moment of an honest life of one request a second, and that with three
seeds: at least 99 % of them are to be found within an hour of traffic, canaries are to be at most 1 % of an honest
host's requests, and at most one honest host is to be evicted in 1,000 days. Beside them the same with canaries that are
the golden examples again and again, which a host can remember. The exit status is 1 where one of these is missed.
"""

import argparse
import sys

from argosy_simulators.hosts import CHEATS, catch, live

FLOOR, OVERHEAD = 0.99, 0.01
SEEDS = (19, 20, 21)


def prove(seed: int, trials: int, days: int) -> bool:
    """One seed, printed; whether it held."""
    honest = live(days, seed)
    print(f"seed {seed}, honest: {honest.evicted} of {days} evicted in a day each, canaries {honest.overhead:.2%}")
    print(f"  {'cheat':<17} {'caught':>7} {'admission':>10} {'median':>7} {'99 %':>7}")
    least = 1.0
    for cheat in CHEATS:
        one = catch(cheat, trials, honest.lives, seed)
        print(f"  {cheat:<17} {one.caught:>7.1%} {one.admission:>10.1%} {one.median:>5.0f} m {one.late:>5.0f} m")
        least = min(least, one.caught)
    for cheat, fresh, told in (
        ("shared seldom", 1.0, "for 5 to 10 minutes, less than half of the time: beyond what is promised"),
        ("replayed answers", 0.0, "of golden examples alone, again and again, as what is live sends today"),
    ):
        one = catch(cheat, trials, honest.lives, seed, fresh=fresh)
        print(f"  {cheat:<17} {one.caught:>7.1%}  ({told})")
    held = honest.evicted * 1000 <= days and honest.overhead <= OVERHEAD and least >= FLOOR
    print(
        f"{'held' if held else 'missed'}: at least {least:.1%} of each caught within an hour (floor {FLOOR:.0%}), "
        f"{honest.overhead:.2%} canaries (at most {OVERHEAD:.0%}); {honest.evicted} of {days} honest days ended by an "
        "eviction",
        flush=True,
    )
    return held


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="of each way to cheat")
    parser.add_argument("--days", type=int, default=1000, help="of honest hosts")
    parser.add_argument("--seed", type=int, action="append", help="may be given several times")
    options = parser.parse_args(arguments)
    return 0 if all(prove(seed, options.trials, options.days) for seed in options.seed or SEEDS) else 1


if __name__ == "__main__":
    sys.exit(main())
