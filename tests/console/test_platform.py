"""The console of a platform that runs, driven by keys alone."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.console.conftest import Chromium
from tests.platform.up import Up, clear
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

pytestmark = pytest.mark.xdist_group("console")

STAND_IN_UP = [sys.executable, str(Path(__file__).with_name("stand_in_up.py"))]
CANARY = {"strategy": "canary", "steps": [{"weight": 5, "seconds": 6000}]}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = Home(tmp_path_factory.mktemp("h")).create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(home, Settings())
    for n in range(2):
        folder = write_folder(home.root / f"p{n}", FILES | {"behaviour": b"ok", "n": bytes([n])})
        store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    up = Up(home, STAND_IN_UP).ready()
    yield up
    up.stop()
    clear(home)


def sign_in(platform: Up, chromium: Chromium) -> str:
    answer = platform.ask("POST", "/console/tickets")
    base = str(answer.url).removesuffix("/console/tickets")
    chromium.driver.get(base + answer.json()["path"])
    return base


def press(chromium: Chromium, *keys: str) -> None:
    for key in keys:
        chromium.driver.switch_to.active_element.send_keys(key)


def tab_to(chromium: Chromium, text: str) -> None:
    """TAB until what has the focus says `text`. It must show that it has it."""
    from selenium.webdriver.common.keys import Keys

    for _ in range(60):
        press(chromium, Keys.TAB)
        if chromium.run("document.activeElement.innerText.trim()") == text:
            assert chromium.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
    raise AssertionError(f"no TAB leads to '{text}'")


def test_a_rollout_is_aborted_by_keys_alone_and_the_ledger_knows(platform: Up, chromium: Chromium):
    from selenium.webdriver.common.keys import Keys

    body = {"model": "digits:1", "public": True, "rollout": CANARY}
    platform.call("PUT", "/v1/endpoints/mine", body, wait=60)
    platform.call("PUT", "/v1/endpoints/mine", body | {"model": "digits:2"}, wait=0)
    sign_in(platform, chromium)
    chromium.until(lambda: chromium.run("!!document.querySelector('.rolling')"))
    tab_to(chromium, "mine")
    press(chromium, Keys.ENTER)
    chromium.until(lambda: chromium.driver.current_url.endswith("/endpoints/mine"))
    chromium.until(lambda: chromium.run("document.readyState") == "complete")
    tab_to(chromium, "Abort")
    press(chromium, Keys.ENTER)
    chromium.until(lambda: chromium.run("document.querySelector('dialog').open"))
    assert platform.call("GET", "/v1/endpoints/mine/rollout")["live"]
    assert chromium.run("document.activeElement.id") == "reason"
    press(chromium, "support says it is odd")
    tab_to(chromium, "Abort the rollout")
    press(chromium, Keys.ENTER)
    chromium.until(lambda: "/rollout" in chromium.driver.current_url)
    chromium.until(lambda: "aborted" in chromium.run("document.querySelector('main').innerText"))
    order = next(each for each in platform.call("GET", "/v1/history/mine") if each["event"] == "order")
    assert (order["actor"], order["reason"]) == ("console", "support says it is odd")
    assert order["body"]["order"] == "abort"
    assert platform.call("GET", "/v1/endpoints/mine")["serving"] == "digits:1"
    platform.call("DELETE", "/v1/endpoints/mine")


def test_scaling_keeps_the_revision_and_is_refused_where_another_came_between(platform: Up, chromium: Chromium):
    from selenium.webdriver.common.by import By

    platform.call("POST", "/v1/aliases", {"name": "digits", "alias": "best", "version": 1})
    platform.call("PUT", "/v1/endpoints/more", {"model": "digits@best", "public": True}, wait=60)
    platform.call("POST", "/v1/aliases", {"name": "digits", "alias": "best", "version": 2})
    base = sign_in(platform, chromium)
    chromium.scripts(False)

    def scale(replicas: str) -> None:
        field = chromium.driver.find_element(By.ID, "replicas")
        field.clear()
        field.send_keys(replicas)
        chromium.driver.find_element(By.CSS_SELECTOR, "main button.primary").click()

    chromium.driver.get(f"{base}/console/endpoints/more/do/scale")
    scale("2")
    chromium.until(lambda: chromium.driver.current_url.endswith("/endpoints/more"))
    found = platform.call("GET", "/v1/endpoints/more", wait=60)
    assert (found["replicas"], found["version"]) == (2, "digits:1")
    assert platform.call("GET", "/v1/history/more")[-1]["actor"] in ("console", "argosy")
    declared = [each for each in platform.call("GET", "/v1/history/more") if each["event"] == "declare"][-1]
    assert declared["actor"] == "console"

    chromium.driver.get(f"{base}/console/endpoints/more/do/scale")
    platform.call("PUT", "/v1/endpoints/more", {"model": "digits@best", "public": True, "retries": 2})
    scale("1")
    chromium.until(lambda: "changed meanwhile" in chromium.driver.page_source)
    platform.call("DELETE", "/v1/endpoints/more")


def test_what_cannot_be_done_is_told_on_the_form(platform: Up, chromium: Chromium):
    from selenium.webdriver.common.by import By

    platform.call("PUT", "/v1/endpoints/calm", {"model": "digits:1", "public": True}, wait=60)
    base = sign_in(platform, chromium)
    chromium.driver.get(f"{base}/console/endpoints/calm/do/promote")
    chromium.driver.find_element(By.CSS_SELECTOR, "main button.primary").click()
    chromium.until(lambda: "has had no rollout" in chromium.driver.page_source)
    chromium.driver.get(f"{base}/console/endpoints/calm/do/dance")
    assert "nothing like" in chromium.driver.page_source
    platform.call("DELETE", "/v1/endpoints/calm")


@pytest.mark.slow
def test_traffic_is_measured_and_told(platform: Up, chromium: Chromium):
    import httpx

    deployed = platform.call("PUT", "/v1/endpoints/busy", {"model": "digits:1", "public": True}, wait=60)

    def measured() -> dict[str, float]:
        assert httpx.post(deployed["url"], json={}).status_code == 200
        return platform.call("GET", "/v1/live")["endpoints"]["busy"]

    rates = chromium.until(lambda: found if (found := measured())["p95"] is not None else None)
    assert (rates["errors"], rates["requests"] > 0) == (0, True)
    loads = [each for each in platform.call("GET", "/v1/live")["replicas"] if each["endpoint"] == "busy"]
    assert loads
    assert loads[0]["memory"] > 1 << 20
    sign_in(platform, chromium)
    cell = "document.querySelector('#row-busy [data-label=p95]').innerText"
    chromium.until(lambda: measured() and chromium.run(cell) != "–")
    platform.call("DELETE", "/v1/endpoints/busy")
