"""`python -m prove.hosts`: how soon a machine of a stranger that cheats is found, and how often one is that does not.

Each way to cheat 1,000 times, beginning at some moment of an honest life of one request a second: at least 99 % of
them are to be found within an hour of traffic, canaries are to be at most 1 % of an honest host's requests, and at most
one honest host is to be evicted in 1,000 days. Beside them the same with canaries that are the golden examples again
and again, which a host can remember. The exit status is 1 where one of these is missed.
"""

import argparse
import sys

from argosy_simulators.hosts import CHEATS, catch, live

FLOOR, OVERHEAD = 0.99, 0.01
SEED = 19


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="of each way to cheat")
    parser.add_argument("--days", type=int, default=1000, help="of honest hosts")
    options = parser.parse_args(arguments)
    honest = live(options.days, SEED)
    print(
        f"honest: {honest.evicted} of {honest.days} evicted in a day each, canaries {honest.overhead:.2%} of requests"
    )
    print(f"  {'cheat':<17} {'caught':>7} {'admission':>10} {'median':>7} {'99 %':>7}")
    missed = honest.evicted * 1000 > options.days or honest.overhead > OVERHEAD
    least = 1.0
    for cheat in CHEATS:
        one = catch(cheat, options.trials, honest.lives, SEED)
        print(f"  {cheat:<17} {one.caught:>7.1%} {one.admission:>10.1%} {one.median:>5.0f} m {one.late:>5.0f} m")
        least = min(least, one.caught)
    for cheat, fresh, told in (
        ("shared seldom", 1.0, "for 5 to 10 minutes, less than half of the time: beyond what is promised"),
        ("replayed answers", 0.0, "of golden examples alone, again and again, as what is live sends today"),
    ):
        one = catch(cheat, options.trials, honest.lives, SEED, fresh=fresh)
        print(f"  {cheat:<17} {one.caught:>7.1%}  ({told})")
    missed = missed or least < FLOOR
    verdict = "missed" if missed else "held"
    print(
        f"{verdict}: at least {least:.1%} of each caught within an hour (floor {FLOOR:.0%}), {honest.overhead:.2%}",
        end="",
    )
    print(f" canaries (at most {OVERHEAD:.0%}); {honest.evicted} of {honest.days} honest days ended by an eviction")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
