"""What only a browser can tell: what is drawn, with what contrast, and by which keys."""

import time

import pytest

from argosy.store import alerts, ledger
from tests.console.conftest import Chromium, Console
from tests.console.samples import HOSTILE
from tests.console.test_pages import PAGES, open_page

pytestmark = pytest.mark.xdist_group("console")

CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (under, color) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const each of [under, color]) { canvas.fillStyle = each; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => { const s = c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * s[0] + .7152 * s[1] + .0722 * s[2]; };
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(getComputedStyle(e).backgroundColor);
    return layers.reverse().reduce((under, each) => `rgb(${rgb(under, each).join()})`, "rgb(255,255,255)");
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const visible = element.checkVisibility() && !element.closest(".unseen, .skip, noscript, title, dialog");
    if (!walker.currentNode.textContent.trim() || !visible) continue;
    const style = getComputedStyle(element), ground = behind(element);
    const color = element.ownerSVGElement ? style.fill : style.color;
    const [a, b] = [light(rgb(ground, color)), light(rgb(ground, ground))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) bad.push(`${walker.currentNode.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return bad;
})()"""


@pytest.mark.parametrize(
    "name", ["overview", "endpoint", "rollout", "drift", "performance", "history", "alerts", "confirm"]
)
def test_all_text_can_be_read(chromium: Chromium, console: Console, name: str):
    open_page(chromium, console, name)
    for dark in (False, True):
        chromium.dark(dark)
        assert chromium.run(CONTRAST) == []


def test_text_that_cannot_be_read_would_be_found(chromium: Chromium, console: Console):
    open_page(chromium, console, "keys")
    chromium.run("document.querySelector('main').style.color = '#cccccc'")
    assert chromium.run(CONTRAST)


def test_hostile_names_are_text(chromium: Chromium, console: Console):
    for name in ("overview", "drift", "alerts"):
        open_page(chromium, console, name)
        assert HOSTILE in chromium.run(
            "document.querySelector('main').innerText.replaceAll('\\n', '')"
        ) or chromium.run(
            "[...document.querySelectorAll('[title]')].some(e => e.title.includes(arguments[0]))", HOSTILE
        )
        assert "owned" not in chromium.driver.title
        assert chromium.run("document.querySelectorAll('main img, main script').length") == 0
    assert chromium.complaints() == []


@pytest.mark.parametrize("name", [name for name in PAGES if name != "login"])
def test_every_page_can_be_read_without_scripts(chromium: Chromium, console: Console, name: str):
    with console.client() as client:
        with_scripts = client.get(PAGES[name]).text
    chromium.scripts(False)
    open_page(chromium, console, name)
    source = chromium.driver.page_source
    assert source.count("<tr") == with_scripts.count("<tr")
    assert source.count("<svg") == with_scripts.count("<svg")


@pytest.mark.parametrize("name", ["overview", "endpoint", "drift", "performance"])
def test_fifty_endpoints_and_seven_days_take_few_bytes_and_requests_to_be_drawn(
    chromium: Chromium, console: Console, name: str
):
    open_page(chromium, console, name)
    paint = "performance.getEntriesByName('first-contentful-paint').length"
    chromium.until(lambda: chromium.run(paint))
    before = "performance.getEntriesByType('resource').filter(each => each.renderBlockingStatus == 'blocking').length"
    assert chromium.run(before) == 1, "the stylesheet alone is waited for"
    assert chromium.run("performance.getEntriesByType('navigation')[0].decodedBodySize") < 250_000


def test_a_live_page_moves_and_keeps_what_has_the_focus(chromium: Chromium, console: Console):
    open_page(chromium, console, "overview")
    chromium.run("document.querySelector('#row-churn a').focus()")
    chromium.run("(document.querySelector('#row-churn').dataset.mark = 'same', window.before = performance.now())")
    polls = "performance.getEntriesByType('resource').filter(e => e.initiatorType === 'fetch').length"
    chromium.until(lambda: chromium.run(polls) >= 2)
    assert chromium.run("document.activeElement.innerText") == "churn"
    assert chromium.complaints() == []


def test_a_session_that_is_over_leads_to_the_login(chromium: Chromium, console: Console):
    open_page(chromium, console, "rollout")
    chromium.driver.delete_all_cookies()
    chromium.until(lambda: chromium.driver.current_url.endswith("/console/login"))


def test_a_platform_that_does_not_answer_is_told(chromium: Chromium, console: Console):
    open_page(chromium, console, "rollout")
    assert not chromium.run("document.querySelector('#stale').checkVisibility()")
    chromium.driver.execute_cdp_cmd("Network.enable", {})
    chromium.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/rollout"]})
    chromium.until(lambda: chromium.run("document.querySelector('#stale').checkVisibility()"))
    chromium.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    chromium.until(lambda: not chromium.run("document.querySelector('#stale').checkVisibility()"))


def test_the_page_loads_nothing_from_elsewhere(chromium: Chromium, console: Console):
    open_page(chromium, console, "endpoint")
    loaded = chromium.run("performance.getEntriesByType('resource').map(e => new URL(e.name).origin)")
    assert set(loaded) == {console.url}


def test_the_heat_map_is_walked_by_arrows(chromium: Chromium, console: Console):
    from selenium.webdriver.common.keys import Keys

    open_page(chromium, console, "drift")
    chromium.run("document.querySelector('.heat a[aria-current]').focus()")
    for key in (Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_DOWN):
        chromium.driver.switch_to.active_element.send_keys(key)
    assert chromium.run("document.activeElement.closest('tr').cells[0].innerText") == HOSTILE
    chromium.driver.switch_to.active_element.send_keys(Keys.ENTER)
    chromium.until(lambda: "subject=" in chromium.driver.current_url)
    assert chromium.run("document.querySelector('#cell h3').textContent") == HOSTILE


def test_muting_an_alert_by_the_dialog(chromium: Chromium, console: Console):
    from selenium.webdriver.common.keys import Keys

    open_page(chromium, console, "alerts")
    chromium.run("document.querySelector('a.button').click()")
    chromium.until(lambda: chromium.run("document.querySelector('dialog').open"))
    chromium.shoot("dialog")
    chromium.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    chromium.until(lambda: not chromium.run("document.querySelector('dialog').open"))
    chromium.run("document.querySelector('a.button').click()")
    chromium.until(lambda: chromium.run("document.querySelector('dialog').open"))
    chromium.driver.switch_to.active_element.send_keys(Keys.TAB)
    chromium.driver.switch_to.active_element.send_keys("known", Keys.ENTER)
    muted = chromium.until(lambda: [each for each in alerts.read(console.database) if each.muted_until])
    ((alert, until),) = [(each.id, each.muted_until) for each in muted]
    assert alert == "fraud/drift/amount@1"
    assert 3300 < until - time.time() < 3700
    with console.database.read() as connection:
        last = [each for each in ledger.entries(connection, "fraud") if each.event == "mute"][-1]
    assert (last.actor, last.reason) == ("console", "known")
