"""Which rows of a job are looked at."""

import pytest

from argosy.batch.sample import LEAST, ROWS, share


@pytest.mark.parametrize("fragments", [1, 7, 97, 98, 500, 100_000])
def test_the_whole_stays_the_same_however_many_fragments_there_are(fragments):
    shares = [share(number, fragments) for number in range(fragments)]
    assert 0.98 * ROWS < sum(shares) < 1.03 * ROWS
    assert shares[0] >= LEAST
    assert set(shares) <= {0, shares[0]}
