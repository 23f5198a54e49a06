"""What the owner lets callers name: each variable with the hosts that it may go to."""

import pytest

from argosy.spec import settings
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Home

HOSTS = "allow:\n  hosts: [ci.example.org, 'h.example.org:8443']\n"


def load(tmp_path, text: str, **environ: str):
    place = Home(tmp_path)
    place.config.write_text(text)
    return settings.load(place, environ).allow


def test_secrets_with_their_hosts(tmp_path):
    text = HOSTS + "  secrets: {A: [ci.example.org, 'h.example.org:8443'], B: [], C: ci.example.org}\n"
    allow = load(tmp_path, text)
    found = {name: allow.recipients(name) for name in "ABCD"}
    both = ["ci.example.org", "h.example.org:8443"]
    assert {name: each and list(each) for name, each in found.items()} == {"A": both, "B": (), "C": both[:1], "D": None}
    given = load(tmp_path, HOSTS, ARGOSY_ALLOW_SECRETS="A=ci.example.org h.example.org:8443, B=")
    assert (given.recipients("A"), given.recipients("B")) == (both, [])


def test_the_list_of_earlier_versions_is_refused_with_what_to_write(tmp_path):
    with pytest.raises(InvalidArgument, match=r"secrets: \{CI_TOKEN: \[ci.example.org\]\}.*\{CI_TOKEN: \[\]\}"):
        load(tmp_path, HOSTS + "  secrets: [CI_TOKEN, X]\n")
    with pytest.raises(InvalidArgument, match="name=value"):
        load(tmp_path, HOSTS, ARGOSY_ALLOW_SECRETS="CI_TOKEN,X")
    assert load(tmp_path, HOSTS + "  secrets: []\n").recipients("CI_TOKEN") is None


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ("{A: [elsewhere.example.org]}", "none of allow.hosts"),
        ("{A: [ci.example.org, 'h.example.org']}", "'h.example.org' is none of allow.hosts"),
        ("{A: 'https://ci.example.org'}", "none of allow.hosts"),
        ("{$A: [ci.example.org]}", "without the \\$"),
        ("{A: [1]}", "Expected"),
        ("{A: null}", "Expected"),
    ],
)
def test_what_cannot_be_meant(tmp_path, secrets: str, said: str):
    with pytest.raises(InvalidArgument, match=said):
        load(tmp_path, HOSTS + f"  secrets: {secrets}\n")
