"""The control API against somebody who holds its token on another machine: it is not a shell.

The application is the real one over a real store; nothing runs behind it. What is refused must have touched nothing.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from argosy.alerting.allowed import Allowed
from argosy.alerting.triggers.check import check_run
from argosy.api import token
from argosy.api.application import application
from argosy.api.route import Services
from argosy.client import job as job_process
from argosy.control.revision import revision_of
from argosy.jobs.folder import Folder, RunRequest
from argosy.platform.platform import Platform
from argosy.spec.alerts import Webhook
from argosy.spec.allow import Allow
from argosy.spec.batch import BatchJob
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument, PermissionDenied
from argosy.spec.secret import masked
from argosy.spec.settings import Home, Settings
from argosy.store import ledger, open_store
from argosy.store.ledger import T, ledger_table
from argosy.store.store import Store
from attack import token_holder as attack
from tests.monitoring.recorder.shop import push

ENVIRON = {"ALLOWED": "Bearer good", "SMTP_PASSWORD": "s3cr3t-of-the-platform", "HOOK": "https://ci.example.org/x"}
ENVIRON |= {"LOCAL": "http://local.example.org:8443/x", "GIVEN": "given"}
REFUSED = (400, 403, 404, 422)


class Platforms:
    """A home with the model digits:1, and its API by what the owner has set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inside, self.outside = root / "inside", root / "outside"
        for each in (self.inside, self.outside, root / "insideevil"):
            each.mkdir()
            (each / "rows.csv").write_text("x\n1\n")
        (self.inside / "link").symlink_to(self.outside)
        (self.inside / "file.csv").symlink_to(self.outside / "rows.csv")
        self.home = Home(root / "h").create()
        self.store = open_store(self.home, Settings())
        push(self.store, root / "package", "digits")
        self.confined = self.client(control={"expose": True, "plain": True}, allow=self.allow())
        self.shut = self.client(control={"expose": True, "plain": True})
        self.local = self.client()

    def allow(self) -> dict[str, Any]:
        places = [str(self.inside), "s3://bucket/inside"]
        return {
            "inputs": places,
            "outputs": places,
            "references": [str(self.inside)],
            "hosts": ["ci.example.org", "local.example.org:8443"],
            "secrets": {
                "ALLOWED": ["ci.example.org"],
                "HOOK": "ci.example.org",
                "LOCAL": "local.example.org:8443",
                "GIVEN": [],
            },
        }

    def client(self, **settings: Any) -> "Holder":
        return holder(self.home, self.store, msgspec.convert(settings, Settings))[1]


def holder(home: Home, store: Store, settings: Settings) -> "tuple[Platform, Holder]":
    """A platform that does not run, and who has its token."""
    told: list[Services] = []

    def keep(services: Services, secret: str) -> tuple[()]:
        told.append(services)
        return ()

    platform = Platform(home, settings, store, lambda: None, pages=keep)
    app = application(told[0], token.ensure(home), any_host=settings.control.expose)
    return platform, Holder(app, token.ensure(home))


class Holder:
    """Asks an ASGI application with the token, one request after the other."""

    def __init__(self, app: Any, secret: str) -> None:
        self._app, self._headers = app, {"authorization": f"Bearer {secret}"}

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        import asyncio

        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=self._headers) as to:
                return await to.request(method, path, json=body)

        return asyncio.run(once())

    def refused(self, method: str, path: str, body: Any, *words: str) -> str:
        answer = self.ask(method, path, body)
        assert answer.status_code in REFUSED, f"{body} is answered {answer.status_code}: {answer.text}"
        text = answer.text
        assert ENVIRON["SMTP_PASSWORD"] not in text
        assert all(word in text for word in words), text
        return text


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRON.items():
            patch.setenv(name, value)
        patch.delenv("ALLOWED_NOT", raising=False)
        made = Platforms(tmp_path_factory.mktemp("w"))
        yield made
        made.store.close()


def jobs_of(world: Platforms) -> list[str]:
    return [each["name"] for each in world.local.ask("GET", "/v1/jobs").json()]


def test_a_job_names_its_model_by_a_reference(world: Platforms):
    evil = world.outside / "evil.pkl"
    evil.write_bytes(b"cos\nsystem\n(S'touch " + bytes(world.root / "ran") + b"'\ntR.")
    for number, model in enumerate(attack.models(evil)):
        body = attack.job(f"m{number}", model=model, inputs=[f"{world.inside}/rows.csv"], output=f"{world.inside}/out")
        world.confined.refused("POST", "/v1/jobs", body)
    assert jobs_of(world) == []
    assert not (world.root / "ran").exists()


def test_a_job_reads_and_writes_in_allowed_places(world: Platforms):
    good = {"inputs": [str(world.inside)], "output": f"{world.inside}/out"}
    for number, place in enumerate(attack.places(world.inside, world.outside)):
        for field, value in (("inputs", [place]), ("inputs", [*good["inputs"], place]), ("output", place)):
            world.confined.refused("POST", "/v1/jobs", attack.job(f"p{number}", **(good | {field: value})))
    for number, place in enumerate(attack.globs(world.inside, world.outside)):
        world.confined.refused("POST", "/v1/jobs", attack.job(f"g{number}", **(good | {"inputs": [place]})))
    for schedule in ("* * * * *",):
        body = attack.job("s", **(good | {"output": f"{world.outside}/{{date}}"})) | {"schedule": schedule}
        world.confined.refused("POST", "/v1/jobs", body, "allow.outputs")
    for zone in ("../../etc/passwd", "Europe", "/etc/localtime", "a" * 5000):
        body = attack.job("z", **(good | {"output": f"{world.inside}/{{date}}"}))
        world.confined.refused("POST", "/v1/jobs", body | {"schedule": "* * * * *", "timezone": zone}, "time zone")
    assert jobs_of(world) == []
    assert not (world.outside / "out").exists()


def test_nothing_is_allowed_where_the_owner_has_set_nothing(world: Platforms):
    body = attack.job("n", inputs=[str(world.inside)], output=f"{world.inside}/out")
    world.shut.refused("POST", "/v1/jobs", body, "allow.inputs")
    world.shut.refused("POST", "/v1/endpoints/d/plan", attack.webhook(), "allow.hosts")
    world.shut.refused("POST", "/v1/endpoints/d/plan", attack.command(), "triggers.commands")
    world.confined.refused("POST", "/v1/endpoints/d/plan", attack.command(), "triggers.commands")
    world.shut.refused("POST", "/v1/endpoints/d/plan", reference_of(f"{world.inside}/rows.csv"), "allow.references")


def reference_of(path: str) -> dict[str, Any]:
    return {"model": "digits:1", "payload": {}, "monitor": {"reference": path}}


def test_what_is_allowed_is_taken(world: Platforms):
    for number, (place, out) in enumerate(
        [
            (f"{world.inside}/rows.csv", f"{world.inside}/out"),
            (f"{world.inside}/*.csv", f"{world.inside}/deep/out"),
            ("s3://bucket/inside/*/x.parquet", "s3://bucket/inside/out"),
        ]
    ):
        body = attack.job(f"good{number}", model="digits:1", inputs=[place], output=out)
        assert world.confined.ask("POST", "/v1/jobs", body).status_code == 201
    hooks = [
        {"headers": {"Authorization": "$ALLOWED", "Accept": "application/json"}, "secret": "$ALLOWED"},
        {"url": "$HOOK", "headers": {"Authorization": "Bearer $ALLOWED"}},
        {"url": "https://CI.example.org./hook"},
        {"url": "http://local.example.org:8443/hook"},
    ]
    for hook in hooks:
        found = world.confined.ask("POST", "/v1/endpoints/d/plan", attack.webhook(**hook))
        assert found.status_code == 200, found.text
    path = str(world.outside / "model")
    assert world.local.ask("POST", "/v1/jobs", attack.job("paths", model=path)).status_code == 201
    assert world.local.ask("POST", "/v1/endpoints/d/plan", attack.command()).status_code == 200
    hook = attack.webhook(url="http://10.0.0.1/x", secret="$SMTP_PASSWORD")
    assert world.local.ask("POST", "/v1/endpoints/d/plan", hook).status_code == 200


def test_a_reference_file_lies_in_an_allowed_place(world: Platforms):
    for place in attack.places(world.inside, world.outside):
        if place:
            for text in (place, f"{place}@sha256:{'0' * 64}"):
                world.confined.refused("PUT", "/v1/endpoints/d", reference_of(text))
                world.confined.refused("POST", "/v1/endpoints/d/plan", reference_of(text), "allow.references")
    there = world.confined.refused("PUT", "/v1/endpoints/d", reference_of("/etc/passwd"))
    absent = world.confined.refused("PUT", "/v1/endpoints/d", reference_of("/etc/passwe"))
    assert there == absent.replace("passwe", "passwd"), "what is refused does not tell whether it is there"


@pytest.mark.parametrize("client", ["confined", "shut"])
def test_a_webhook_calls_an_allowed_host(world: Platforms, client: str):
    for url in attack.urls("ci.example.org"):
        holder: Holder = getattr(world, client)
        holder.refused("PUT", "/v1/endpoints/d", attack.webhook(url=url))


def test_a_webhook_refers_to_allowed_variables(world: Platforms):
    for name in attack.variables():
        for hook in (
            {"url": name},
            {"secret": name},
            {"headers": {"X-A": name}},
            {"headers": {"X-A": f"Bearer {name}"}},
        ):
            world.confined.refused("PUT", "/v1/endpoints/d", attack.webhook(**hook), "allow.secrets")
    for field in attack.headers():
        world.confined.refused("PUT", "/v1/endpoints/d", attack.webhook(headers=field))


def test_a_secret_goes_to_its_own_hosts_and_nowhere_else(world: Platforms):
    """Every way to send it, to every host that webhooks may call; and into no program."""
    ways = [{"secret": "$ALLOWED"}, {"headers": {"X-A": "$ALLOWED"}}, {"headers": {"Authorization": "Bearer $ALLOWED"}}]
    for url in ("http://local.example.org:8443/hook", "$LOCAL"):
        for way in ways:
            world.confined.refused("PUT", "/v1/endpoints/d", attack.webhook(url=url, **way), "allow.secrets")
    for url in ("https://ci.example.org/hook", "$HOOK"):
        for way in ways:
            found = world.confined.ask("POST", "/v1/endpoints/d/plan", attack.webhook(url=url, **way))
            assert found.status_code == 200, found.text
        for name in ("$LOCAL", "$GIVEN"):
            for way in ({"secret": name}, {"headers": {"X-A": "$ALLOWED", "X-B": f"Bearer {name}"}}):
                world.confined.refused("PUT", "/v1/endpoints/d", attack.webhook(url=url, **way), "allow.secrets")
    world.confined.refused("PUT", "/v1/endpoints/d", attack.webhook(url="$GIVEN"))
    places = {"inputs": [str(world.inside)], "output": f"{world.inside}/out"}
    runtime = {"model": "digits:1", "runtime": {"env": {"A": "$ALLOWED"}}}
    world.confined.refused("PUT", "/v1/endpoints/d", runtime, "one without hosts")
    world.confined.refused("POST", "/v1/jobs", attack.job("e", env={"A": "$HOOK"}, **places), "one without hosts")


def test_a_secret_that_its_owner_takes_from_a_host_is_not_sent_there_by_what_was_declared_before():
    hook = Webhook(url="$HOOK", headers={"X-A": "$ALLOWED"})
    hosts = ["ci.example.org", "other.example.org"]
    for secrets, refused in (
        ({"HOOK": ["ci.example.org"], "ALLOWED": ["ci.example.org"]}, False),
        ({"HOOK": ["ci.example.org"], "ALLOWED": ["other.example.org"]}, True),
        ({"HOOK": ["other.example.org"], "ALLOWED": ["ci.example.org"]}, True),
        ({"HOOK": [], "ALLOWED": ["ci.example.org"]}, True),
        ({"ALLOWED": ["ci.example.org"]}, True),
    ):
        allowed = Allowed(confined=True, allow=msgspec.convert({"hosts": hosts, "secrets": secrets}, Allow))
        with pytest.raises(PermissionDenied) if refused else contextlib.nullcontext():
            check_run(hook, allowed, ENVIRON, "the trigger 't'")


@pytest.mark.parametrize("client", ["confined", "local"])
def test_no_declaration_holds_a_secret(world: Platforms, client: str):
    holder: Holder = getattr(world, client)
    for field in attack.headers():
        text = holder.refused("PUT", "/v1/endpoints/d", attack.webhook(headers=field))
        assert "s3cr3t-literal" not in text
    for url in (
        "https://me:s3cr3t@ci.example.org/",
        "https://s3cr3t@ci.example.org/",
        "https://ci.example.org/x?token=s3cr3t",
        "https://ci.example.org/x#s3cr3t",
        "https://ci.example.org/services/T00000000/B00000000/s3cr3tXXXXXXXXXXXXXXXXXXX1",
        "https://ci.example.org/api/webhooks/1/0b6bd4b0-9d0c-4a4e-9a0e-6e7a7c0f0000",
        "https://ci.example.org/bot123456:AAs3cr3tXXXXXXXXXXXXXXXXXX/send",
        "https://ci.example.org/***",
    ):
        text = holder.refused("PUT", "/v1/endpoints/d", attack.webhook(url=url), "the history")
        assert "s3cr3t" not in text
    for name in ("TOKEN", "API_KEY", "DB_PASSWORD", "my_secret", "AUTH", "GH_PAT"):
        text = world.local.refused("PUT", "/v1/endpoints/d", attack.command(environ={name: "s3cr3t"}), name)
        assert "s3cr3t" not in text


def test_a_model_is_given_allowed_variables_and_no_secret_in_clear(world: Platforms):
    def given(**env: str) -> dict[str, Any]:
        return {"model": "digits:1", "runtime": {"env": env}}

    places = {"inputs": [str(world.inside)], "output": f"{world.inside}/out"}
    for name in attack.variables():
        world.confined.refused("PUT", "/v1/endpoints/d", given(A=name), "allow.secrets")
        world.confined.refused("POST", "/v1/jobs", attack.job("e", env={"A": name}, **places), "allow.secrets")
    assert "s3cr3t" not in world.local.refused("POST", "/v1/jobs", attack.job("e", env={"TOKEN": "s3cr3t"}, **places))
    for name in ("TOKEN", "DB_PASSWORD", "API_KEY"):
        text = world.local.refused("PUT", "/v1/endpoints/d", given(**{name: "s3cr3t"}), name)
        assert "s3cr3t" not in text
    world.confined.refused("PUT", "/v1/endpoints/d", given(MODE="***"))
    plan = world.confined.ask("POST", "/v1/endpoints/d/plan", given(TOKEN="$GIVEN", MODE="fast"))
    assert (plan.status_code, "$GIVEN" in plan.text) == (200, True)
    old = {"name": "d", **given(TOKEN="s3cr3t", MODE="fast")}
    assert masked(old)["runtime"]["env"] == {"TOKEN": "***", "MODE": "fast"}
    change = {"field": "runtime.env.TOKEN", "old": "s3cr3t", "new": "$TOKEN"}
    assert masked(change) == change | {"old": "***"}


def test_the_same_holds_when_a_run_starts_and_for_every_file_it_finds(world: Platforms):
    allowed = Allowed(confined=True, allow=msgspec.convert(world.allow(), Allow))

    def told(**batch: Any) -> RunRequest:
        given = {"model": "digits:1", "inputs": (f"{world.inside}/rows.csv",), "output": f"{world.inside}/out"} | batch
        return RunRequest(batch=BatchJob(**given), allowed=allowed)

    job_process.check(told())
    for batch in (
        {"inputs": (f"{world.inside}/*.csv",)},
        {"inputs": (str(world.inside),)},
        {"inputs": (f"{world.inside}/link/../link/rows.csv",)},
        {"inputs": (f"{world.inside}/file.csv",)},
        {"output": f"{world.inside}/link/out"},
        {"output": str(world.outside)},
    ):
        with pytest.raises(PermissionDenied):
            job_process.check(told(**batch))
    with pytest.raises(InvalidArgument):
        job_process.check(told(model=str(world.outside)))


def test_a_job_takes_no_model_out_of_the_working_directory(world: Platforms, monkeypatch: pytest.MonkeyPatch):
    """A file there has the name of a reference; the process of the run looks into the registry all the same."""
    here = world.root / "cwd"
    here.mkdir()
    (here / "nothing").write_text("a model of somebody else")
    monkeypatch.chdir(here)
    monkeypatch.setenv("ARGOSY_HOME", str(world.home.root))
    folder = Folder(world.root / "run-1")
    batch = BatchJob(model="nothing", inputs=(f"{world.outside}/rows.csv",), output=f"{world.root}/cwd-out")
    folder.begin(RunRequest(batch=batch, idle=False))
    assert job_process.main(folder.path) == 4
    result = folder.result()
    assert result is not None
    assert "no model is named 'nothing'" in result.error


OLD = {
    "kind": "webhook",
    "url": "https://me:s3cr3t@ci.example.org/hook?token=s3cr3t",
    "headers": {"Authorization": "Bearer s3cr3t", "X-Api-Key": "s3cr3t", "Accept": "application/json"},
}


def test_what_an_earlier_version_wrote_in_clear_opens_and_is_shown_masked(world: Platforms):
    """The rows are those of the version before: it checked nothing and hid nothing."""
    home = Home(world.root / "old").create()
    store = open_store(home, Settings())
    push(store, world.root / "old-package", "digits")
    declared = attack.webhook(**OLD)
    declared["triggers"].append(
        declared["triggers"][0]
        | {"name": "u", "run": attack.command(environ={"TOKEN": "s3cr3t"})["triggers"][0]["run"]}
    )
    platform, asking = holder(home, store, Settings())
    endpoint = msgspec.convert(declared | {"name": "old"}, Endpoint)
    platform.state.declare(endpoint, revision_of(endpoint, store.registry.resolve("digits:1")))
    changes = [{"field": "triggers", "old": None, "new": msgspec.to_builtins(endpoint)["triggers"]}]
    clear = {"endpoint": msgspec.to_builtins(endpoint), "changes": changes, "version": "digits:1", "digest": "sha256:"}
    with store.database.begin() as connection:
        ledger.append(connection, "old", "declare", clear)
        bodies = connection.execute(ledger_table.select().order_by(T.seq)).mappings().all()
    assert "s3cr3t" not in bodies[-2]["body"], "what is written today"
    assert "s3cr3t" in bodies[-1]["body"], "what was written then"
    kept = platform.state.endpoint("old")
    assert kept is not None
    assert "s3cr3t" in msgspec.json.encode(kept.endpoint).decode(), "it is delivered as it was declared"
    history = asking.ask("GET", "/v1/history/old").text
    assert "s3cr3t" not in history
    assert "ci.example.org" in history
    again = asking.refused("PUT", "/v1/endpoints/old", declared, "the history")
    fresh = attack.webhook(headers={"Authorization": "$ALLOWED"})
    plan = asking.ask("POST", "/v1/endpoints/old/plan", fresh)
    assert plan.status_code == 200, plan.text
    assert "s3cr3t" not in plan.text + again
    assert "***" in plan.text
    from argosy.control.status import _shown

    assert "s3cr3t" not in msgspec.json.encode(_shown(endpoint)).decode()
    store.close()
