"""What a client does about tokens, busy registries, redirects, warnings, proxies and answers that are too long."""

from types import SimpleNamespace

import httpx
import pytest

from argosy.spec.errors import NotFound, PayloadTooLarge, RateLimited, Unauthenticated, Unavailable
from argosy.store.layout import Layout
from argosy.store.oci import reference, tokens
from argosy.store.oci.client import PATIENCE, Client
from argosy.store.oci.credentials import Credential
from argosy.store.oci.pull import pull
from argosy.store.oci.repository import Repository
from argosy.store.oci.tokens import Challenge, Tokens, challenge_of
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.twin import publish
from tests.store.oci.fake import INDEX, Fake

ADA = Credential("ada", "s3cret")


def client_of(fake: Fake, **given) -> Client:
    return Client(fake.host, **{"sleep": lambda seconds: None} | given).probe()


def test_a_loopback_registry_may_speak_plain_text(fake: Fake):
    with client_of(fake) as client:
        assert client.base.scheme == "http"


def test_tokens_that_expire_within_a_push(fake: Fake, layout: Layout, package: str, moves: Transfers):
    fake.bearer, fake.login, fake.uses = True, "ada:s3cret", 3
    place = reference.parse(f"{fake.host}/models/digits:1")
    with client_of(fake, credential=ADA) as client:
        publish(Repository(client, chunk=1000), place, layout, package, moves)
        assert pull(Repository(client), place, layout, moves) == package
    assert len(fake.tokens) > 5
    asked = [each for each in fake.asked if each.path == "/token"]
    assert {tuple(each.query["scope"]) for each in asked} == {
        ("repository:models/digits:pull,push",),
        ("repository:models/digits:pull",),
    }
    assert asked[0].query["service"] == ["fake"]


def test_a_login_that_is_refused(fake: Fake):
    fake.bearer, fake.login = True, "ada:s3cret"
    for credential in (None, Credential("ada", "wrong")):
        with (
            client_of(fake, credential=credential) as client,
            pytest.raises(Unauthenticated, match=f"run  argosy registry login {fake.host}"),
        ):
            client.ask("GET", "")


def test_blobs_are_mounted_from_a_repository_that_was_seen_to_have_them(
    fake: Fake, layout: Layout, package: str, moves: Transfers
):
    fake.bearer, fake.scattered = True, True
    with client_of(fake) as client:
        publish(Repository(client), reference.parse(f"{fake.host}/one:1"), layout, package, moves)
        assert not fake.mounted
        publish(Repository(client), reference.parse(f"{fake.host}/two:1"), layout, package, moves)
    assert {each.query["mount"][0] for each in fake.mounted} == set(fake.blobs)
    assert {each.query["from"][0] for each in fake.mounted} == {"one"}
    scopes = [each.query["scope"] for each in fake.asked if each.path == "/token"]
    assert ["repository:two:pull,push", "repository:one:pull"] in scopes


def test_token_lives(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: now[0]))
    asked: list[httpx.Request] = []
    bodies = [b'{"token": "a"}', b'{"access_token": "b", "expires_in": 300}', b'{"token": "c"}']

    def fetch(request: httpx.Request) -> tuple[int, bytes]:
        asked.append(request)
        return 200, bodies[len(asked) - 1]

    given = Tokens("registry.example", Credential("", "identity"), fetch, plain=False)
    assert given.header(("s",)) == {}
    given.challenged(Challenge("bearer", "https://auth.example/token?a=b", "registry"), ("s",))
    seen = []
    for moment in (0, 54, 56, 350, 352):
        now[0] = moment
        seen.append(given.header(("s",))["Authorization"])
    assert seen == ["Bearer a", "Bearer a", "Bearer b", "Bearer b", "Bearer c"]
    assert (asked[0].method, asked[0].url.query) == ("POST", b"a=b")
    assert (
        asked[0].read() == b"grant_type=refresh_token&client_id=argosy&refresh_token=identity&service=registry&scope=s"
    )


def test_challenges():
    both = challenge_of(['Basic realm="x", Bearer realm="https://a.example/t",service="s"'])
    assert both == Challenge("bearer", "https://a.example/t", "s")
    assert challenge_of(['basic realm="x"']) == Challenge("basic", "x")
    assert challenge_of(["Negotiate"]) is None
    given = Tokens("registry.example", ADA, lambda request: (200, b"{}"), plain=False)
    for realm, error in (("http://auth.example/t", Unauthenticated), ("file:///t", Unavailable), ("", Unavailable)):
        given.challenged(Challenge("bearer", realm), ())
        with pytest.raises(error):
            given.header(())
    given.challenged(Challenge("bearer", "https://auth.example/t"), ())
    with pytest.raises(Unavailable, match="no token"):
        given.header(())


def test_a_busy_registry_is_waited_for_within_a_bound(fake: Fake):
    waited: list[float] = []
    with client_of(fake, sleep=waited.append) as client:
        fake.busy = [(429, {"Retry-After": "7"}), (503, {})]
        assert Repository(client).tags(reference.parse(f"{fake.host}/none")) == []
        assert waited == [7.0, 2.0]
        fake.busy = [(429, {"Retry-After": str(int(PATIENCE) + 1)})]
        with pytest.raises(RateLimited, match="it limits how often it is asked"):
            client.ask("GET", "")
        fake.busy = [(502, {})] * 9
        with pytest.raises(Unavailable, match="answered 502"):
            client.ask("GET", "")


def test_warnings_are_shown_once(fake: Fake):
    fake.warning = "this repository moves"
    lines: list[str] = []
    with client_of(fake, report=lines.append) as client:
        client.ask("GET", "")
    assert lines == [f"{fake.host} warns: this repository moves"]


def test_a_login_does_not_follow_to_another_host(fake: Fake, layout: Layout, package: str, moves: Transfers, tmp_path):
    fake.bearer = True
    place = reference.parse(f"{fake.host}/models/digits:1")
    with Fake() as other, client_of(fake) as client:
        publish(Repository(client), place, layout, package, moves, image=False)
        other.blobs, fake.elsewhere = fake.blobs, f"http://{other.host}"
        assert pull(Repository(client), place, Layout(tmp_path / "new"), moves) == package
        assert other.asked
        assert not [each for each in other.asked if "authorization" in each.headers]
        secure = httpx.URL("https://registry.example/v2/")
        with pytest.raises(Unavailable, match="in plain text"):
            client.beside(secure, f"http://{other.host}/x")
        with pytest.raises(Unavailable, match="no place"):
            client.beside(secure, "")
        fake.elsewhere = f"http://{fake.host}"
        with pytest.raises(Unavailable, match="answered 307"):
            pull(Repository(client), place, Layout(tmp_path / "loop"), moves)


def test_proxies_of_the_environment(fake: Fake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://{fake.host}")
    monkeypatch.setenv("NO_PROXY", "")
    fake.manifests["digits", "1"] = INDEX, b"{}"
    place = reference.parse("registry.example/digits:1")
    with Client(place.host, plain_http=True) as client:
        assert Repository(client.probe()).tags(place) == ["1"]
    fake.__exit__()
    with Client(place.host, plain_http=True) as client, pytest.raises(Unavailable, match="cannot be reached"):
        client.probe()


def test_what_is_no_registry_and_documents_without_end(fake: Fake):
    with client_of(fake) as client:
        fake.manifests["digits", "1"] = INDEX, b" " * (4 * 1024 * 1024 + 1)
        with pytest.raises(PayloadTooLarge, match="than a document of a registry may have"):
            Repository(client).document(reference.parse(f"{fake.host}/digits:1"))
    fake.busy = [(404, {})]
    with Client(fake.host, plain_http=True) as client, pytest.raises(NotFound, match="is no registry"):
        client.probe()
    with Client("127.0.0.1:1") as client, pytest.raises(Unavailable, match="cannot be reached"):
        client.probe()
