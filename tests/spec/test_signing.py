import pytest

from argosy.spec import strict
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Home, Settings, load
from argosy.spec.signing import Signatures, Signer, matches


def test_the_section_of_the_configuration(tmp_path):
    Home(tmp_path).config.write_text(
        "signatures:\n  signers:\n    release: {key: /keys/release.pub, models: [fraud, 'digits-*']}\n"
        "    ci: {authority: /keys/ca.pem, identity: ci@example.org}\n  require: ['prod-*']\n"
    )
    found = load(Home(tmp_path), {}).signatures
    assert found.signers["release"] == Signer(key="/keys/release.pub", models=("fraud", "digits-*"))
    assert found.signers["ci"].models == ("*",)
    assert load(Home(tmp_path), {"ARGOSY_SIGNATURES_REQUIRE": "a,b-*"}).signatures.require == ("a", "b-*")
    with pytest.raises(InvalidArgument, match="signers"):
        load(Home(tmp_path), {"ARGOSY_SIGNATURES_SIGNERS": "a=b"})
    assert Settings().signatures == Signatures()


@pytest.mark.parametrize(
    ("signer", "message"),
    [
        ("{}", "either a key or an authority"),
        ("{key: /a, authority: /b}", "either a key or an authority"),
        ("{key: /a, identity: b}", "identity is that of a certificate"),
        ("{key: a.pub}", "absolute path"),
        ("{keys: /a}", "key"),
    ],
)
def test_signers_that_make_no_sense(signer, message):
    with pytest.raises(InvalidArgument, match=message):
        strict.load_yaml(f"signers: {{a: {signer}}}", Signatures, "config.yaml")


def test_patterns():
    assert matches(("a-*", "b"), "a-1")
    assert matches(("b",), "", "b")
    assert not matches(("a-*", "b"), "", "a", "B")
    assert not matches((), "a")
