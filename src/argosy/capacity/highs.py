"""HiGHS, the solver of linear programs, of the extra `place`."""

from typing import Any

from argosy.spec import errors


def solver(need: str) -> Any:
    """A solver of one thread that prints nothing. The class of `highspy` greets on standard output, before it can be
    told not to, where it makes room for callbacks; none are used here. Raises MissingExtra, which says what the `need`
    is."""
    kind: Any = errors.require("highspy", "place", need).Highs
    made = kind.__new__(kind)
    kind.__mro__[1].__init__(made)
    made.setOptionValue("output_flag", False)
    made.setOptionValue("threads", 1)
    made.setOptionValue("random_seed", 0)
    return made
