"""Keys saved under the home."""

from concurrent.futures import ThreadPoolExecutor

import click
import pytest

from argosy.cli import keys as stored
from argosy.console import words
from argosy.spec.errors import NotFound
from argosy.spec.language import TokenLimits
from argosy.spec.settings import Home


def test_deploys_at_once_save_a_whole_key_readable_by_its_owner_alone(tmp_path):
    place = Home(tmp_path)
    keys = [stored.SavedKey(str(number), f"ak_{number}") for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        (path, *_) = pool.map(lambda each: stored.save(place, "digits", each), keys)
    assert stored.find(place, "digits") in keys
    assert [each.name for each in path.parent.iterdir()] == ["digits.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_kept_key_is_shown_alone_and_one_that_is_not_says_what_to_do(run, place):
    stored.save(place, "digits", stored.SavedKey("1f", "ak_1f_secret", "http://h"))
    assert run("keys", "show", "digits").stdout == "ak_1f_secret\n"
    result = run("keys", "show", "iris")
    assert (result.exit_code, result.stdout) == (NotFound.exit, "")
    assert "argosy keys create NAME --scope iris" in result.stderr


@pytest.mark.parametrize(("text", "number"), [("20000", 20000), ("20k", 20000), ("50M", 50_000_000), ("1.5k", 1500)])
def test_numbers_of_tokens(text, number):
    assert stored.Amount().convert(text, None, None) == number


@pytest.mark.parametrize("text", ["", "k", "0", "-5", "1.0001k", "5G", "nan", "1e400"])
def test_what_is_no_number_of_tokens(text):
    with pytest.raises(click.BadParameter, match="not a number of tokens"):
        stored.Amount().convert(text, None, None)


def test_limits_are_told_in_words():
    limits = {"tokens_per_minute": 20000, "tokens_per_day": None, "money_per_month": 12.5, "unreachable": "closed"}
    assert words.limits(None) == words.limits(TokenLimits()) == []
    assert words.limits(limits) == ["20k tokens/minute", "12.5 money/month"]
