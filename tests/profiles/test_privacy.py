"""Hidden columns: no value of theirs is in a profile, it still merges, and the other columns are as they were."""

import numpy as np
import pytest

from argosy.profiles.layout import Layout
from argosy.profiles.profile import Hidden, Profile, check, encode, merge
from argosy.profiles.recorder import Recorder
from tests.profiles.models import rows, small


@pytest.fixture(scope="module")
def where() -> Layout:
    return small()


@pytest.fixture(scope="module")
def profile(where: Layout) -> Profile:
    recorder = Recorder(where, "3")
    inputs, outputs = rows(50)
    inputs["country"][:5] = b"Atlantis"
    inputs["x"][:, 0] = 1234.5
    recorder.add(0, inputs, outputs)
    return recorder.take(60)[0]


@pytest.mark.parametrize("name", ["country", "input.country"])
def test_a_redacted_category_leaves_nothing(where: Layout, profile: Profile, name: str):
    hidden = Hidden(where, [name], []).apply(profile)
    assert b"Atlantis" in encode(profile)
    assert b"Atlantis" not in encode(hidden)
    assert not hidden.cells(where, "country").any()
    assert (hidden.cells(where, "age") == profile.cells(where, "age")).all()


@pytest.mark.parametrize("name", ["age", "input.age"])
def test_a_hashed_number_leaves_counts_in_cells_alone(where: Layout, profile: Profile, name: str):
    hidden = Hidden(where, [], [name]).apply(profile)
    place = where.index("age")
    assert (hidden.cells(where, "age") == profile.cells(where, "age")).all()
    assert hidden.moments[place].count == 0
    assert np.float32(1234.5).tobytes() in b"".join(profile.sketches)
    assert np.float32(1234.5).tobytes() not in b"".join(hidden.sketches)
    assert [kept for at, kept in enumerate(hidden.moments) if at != place] == [
        kept for at, kept in enumerate(profile.moments) if at != place
    ]


def test_a_tensor_hides_all_its_columns_and_profiles_still_merge(where: Layout, profile: Profile):
    hidden = Hidden(where, ["x"], ["country", "label"])
    one = hidden.apply(profile)
    check(where, one)
    assert merge(where, [one, one]).rows == 2 * profile.rows
    assert all(not one.cells(where, name).any() for name in ("age", "income", "score", "height", "days"))
    assert hidden.covers("age")
    assert hidden.covers("country")
    assert not hidden.covers("p")


def test_without_hidden_columns_it_is_the_same(where: Layout, profile: Profile):
    assert Hidden(where, [], []).apply(profile) is profile
