"""Language models: memory, prices and limits."""

import pytest

from argosy.spec.errors import InvalidArgument
from argosy.spec.language import Language, LanguageModel, Price, TokenLimits


def test_memory_is_that_of_the_weights_and_of_the_cache_of_each_sequence():
    model = LanguageModel(kind="generator", architecture="llama", weights=1_000, kv_bytes=32)
    assert model.memory(100) == 4_200
    assert model.memory(100, slots=2, kv_type="q8_0") == 1_000 + 17 * 200


def test_cached_tokens_cost_as_input_unless_they_have_a_price_of_their_own():
    assert Price(input=1, output=4).of(1_000_000, 400_000, 500_000) == 3.0
    assert Price(input=1, cached=0.5, output=4).of(1_000_000, 400_000, 0) == pytest.approx(0.8)


def test_a_longer_period_has_no_fewer_tokens():
    assert not TokenLimits().any
    assert TokenLimits(tokens_per_minute=5, tokens_per_month=5).any
    with pytest.raises(InvalidArgument, match="longer period"):
        TokenLimits(tokens_per_minute=50, tokens_per_day=10)


def test_numbers_have_bounds():
    with pytest.raises(InvalidArgument, match="slots must be at least 1"):
        Language(slots=0)
