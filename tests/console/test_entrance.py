"""Who comes in, and what a page of somebody else cannot do."""

import re

import httpx
import pytest

from argosy.spec.errors import Unavailable
from tests.console.conftest import Console
from tests.console.samples import HOSTILE

pytestmark = pytest.mark.xdist_group("console")

ABORT = "/console/endpoints/fraud/do/abort"


def form_token(page: str) -> str:
    return re.search(r'name="form_token" value="([0-9a-f]+)"', page).group(1)  # pyright: ignore


def test_without_a_session_there_is_only_the_login(console: Console):
    for path in ("", "/", "/endpoints/fraud", "/keys", "/nonsense", "/endpoints/fraud/do/abort"):
        answer = httpx.get(f"{console.url}/console{path}")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/login?next=")
    assert httpx.post(console.url + ABORT).headers["location"].startswith("/console/login")
    partial = httpx.get(f"{console.url}/console", headers={"hx-request": "true"})
    assert (partial.status_code, partial.headers["hx-redirect"]) == (401, "/console/login")


def test_the_token_opens_it_and_a_wrong_one_does_not(console: Console):
    with httpx.Client(base_url=console.url) as client:
        wrong = client.post("/console/login", data={"token": "guess", "next": "/console/keys"})
        assert wrong.status_code == 401
        assert "That did not fit" in wrong.text
        assert "set-cookie" not in wrong.headers
        right = client.post("/console/login", data={"token": console.secret, "next": "/console/keys"})
        assert (right.status_code, right.headers["location"]) == (303, "/console/keys")
        for word in ("HttpOnly", "SameSite=strict", "Path=/console"):
            assert word in right.headers["set-cookie"]
        assert console.secret not in right.headers["set-cookie"]
        assert "Secure" not in right.headers["set-cookie"], "a browser would not send it back over plain HTTP"
        form, told = {"token": console.secret}, {"x-forwarded-proto": "https"}
        assert "Secure" in httpx.post(f"{console.url}/console/login", data=form, headers=told).headers["set-cookie"]
        assert client.get("/console/keys").status_code == 200
        token = form_token(client.get("/console").text)
        assert client.post("/console/logout", data={"form_token": token}).status_code == 303
        assert client.get("/console").status_code == 303


def test_a_session_that_was_signed_out_is_over_for_a_thief_too(console: Console):
    with httpx.Client(base_url=console.url) as client:
        client.get(console.login())
        stolen = dict(client.cookies)
        client.post("/console/logout", data={"form_token": form_token(client.get("/console").text)})
    assert httpx.get(f"{console.url}/console", cookies=stolen).status_code == 303


def test_a_ticket_needs_the_token_and_signs_in_once(console: Console):
    for header in ({}, {"authorization": "Bearer guess"}):
        assert httpx.post(f"{console.url}/console/tickets", headers=header).status_code == 401
    url = console.login()
    assert httpx.get(url).headers["location"] == "/console"
    again = httpx.get(url)
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)


@pytest.mark.parametrize(
    "next_page", ["https://evil.example/", "//evil.example", "/console//evil", "/consolex", "/\\evil"]
)
def test_nobody_is_led_away_by_the_login(console: Console, next_page: str):
    answer = httpx.post(f"{console.url}/console/login", data={"token": console.secret, "next": next_page})
    assert answer.headers["location"] == "/console"


def test_a_forged_form_does_nothing(console: Console):
    with console.client() as client:
        good = form_token(client.get(ABORT).text)
        for fields, headers in (
            ({}, {}),
            ({"form_token": "0" * 64}, {}),
            ({"form_token": good}, {"origin": "https://evil.example"}),
            ({"form_token": good}, {"origin": "null"}),
        ):
            refused = client.post(ABORT, data=fields, headers=headers)
            assert refused.status_code == 403, refused.text
        with console.client() as other:
            assert other.post(ABORT, data={"form_token": good}).status_code == 403
        broken = client.post(ABORT, content=b"\xff\xfe")
        assert broken.status_code == 400
        huge = client.post(ABORT, content=b"a" * (1024 * 1024 + 1))
        assert huge.status_code == 413


def test_a_name_of_somebody_else_is_refused(console: Console):
    for path in ("/console/login", "/console", "/console/enter?ticket=x"):
        assert httpx.get(console.url + path, headers={"host": "evil.example"}).status_code == 403
    headers = {"host": "evil.example", "authorization": f"Bearer {console.secret}"}
    assert httpx.post(f"{console.url}/console/tickets", headers=headers).status_code == 403


PATHS = (
    "",
    "/endpoints/fraud?range=7d",
    "/endpoints/fraud/rollout",
    "/endpoints/fraud/drift",
    "/endpoints/fraud/performance",
    "/endpoints/fraud/history",
    "/endpoints/fraud/declaration",
    "/models",
    "/models/fraud",
    "/models/fraud/2",
    "/alerts",
    "/alerts/mute?id=fraud/drift/amount@1",
    "/keys",
    "/endpoints/fraud/do/scale",
    "/nonsense",
    "/endpoints/none",
    "/endpoints/" + "x" * 5000,
    "/endpoints/%3Cscript%3E",
    "/models/fraud/99",
    "/models/fraud/one",
)


OWN_PAGE = 'href="http://127.0.0.1:8080/endpoints/fraud/docs"'
"""The one link that leaves the console: to the endpoint itself, at the gateway."""


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_strict_about_what_may_run_and_load(console: Console, path: str):
    with console.client() as client:
        answer = client.get(f"/console{path}")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    text = answer.text
    assert HOSTILE not in text
    assert "<script>" not in text
    assert not re.search(r'(src|href|action|hx-get)="(?!/console|\?|#)', text.replace(OWN_PAGE, 'href="#"'))
    assert not re.search(r'\s(style|on\w+)="', text)
    if answer.status_code >= 400:
        assert len(text) < 10_000


def test_what_is_not_there_is_told(console: Console):
    with console.client() as client:
        for path, status in (
            ("/nonsense", 404),
            ("/endpoints/none", 404),
            ("/models/none", 404),
            ("/models/fraud/x", 400),
        ):
            answer = client.get(f"/console{path}")
            assert (answer.status_code, "Back to the endpoints" in answer.text) == (status, True)
        assert client.get("/console/static/none.js").status_code == 404
        assert client.get("/console/static/..%2Fdesk.py").status_code == 404


def test_what_the_controller_saw_is_shown_while_the_database_is_away(console: Console, monkeypatch: pytest.MonkeyPatch):
    def away(*_: object, **__: object) -> None:
        raise Unavailable("the database does not answer")

    with console.client() as client:
        monkeypatch.setattr("argosy.console.pages.FRESH", -1.0)
        monkeypatch.setattr("argosy.store.alerts.read", away)
        page = client.get("/console")
        assert (page.status_code, "row-fraud" in page.text) == (200, True)
        alerts = client.get("/console/alerts")
        assert (alerts.status_code, "the database does not answer" in alerts.text) == (503, True)


def test_the_theme_is_remembered_and_must_be_one(console: Console):
    with console.client() as client:
        token = form_token(client.get("/console").text)
        chosen = client.post("/console/theme", data={"theme": "dark", "next": "/console/keys", "form_token": token})
        assert 'data-theme="dark"' in chosen.text
        assert chosen.url.path == "/console/keys"
        assert client.post("/console/theme", data={"theme": "pink", "form_token": token}).status_code == 400
