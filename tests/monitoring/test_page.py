"""The health page as a person sees it: in a real browser, live, on a phone, in the dark, with hostile peers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from headless import Browser, chromium
from pretend_swarm import Pretend, facts

from monitoring.api import Watch, api_routes
from monitoring.server import Server
from swarm.trust.peer_id import friendly_name

READY = "document.body !== null && document.body.dataset.ready === 'yes'"
pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


@pytest.fixture
def swarm() -> Pretend:
    return Pretend(peers=5).run(40)


@pytest.fixture
def url(swarm: Pretend) -> Iterator[str]:
    server = Server(api_routes(swarm.watch), 0)
    server.start()
    yield server.url
    server.close()


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as window:
        yield window


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    with window.tab() as tab:
        yield tab


def test_what_a_newcomer_sees_and_that_it_is_live(swarm: Pretend, url: str, browser: Browser) -> None:
    browser.open(url + "/")
    browser.wait(READY)
    assert browser.text("#words") == "Healthy: 5 peers training."
    assert browser.text("#step") == "Step 140 of 2,000"
    assert browser.text("#command") == f"bloomswarm join '{swarm.watch.view.facts.link}'"
    assert set(browser.evaluate("[...document.querySelectorAll('#peers b')].map(e => e.textContent)")) == {
        friendly_name(peer) for peer in (*swarm.ids, swarm.seed)
    }
    assert browser.evaluate("document.querySelectorAll('#languages svg .curve').length") == 6
    assert browser.evaluate("document.querySelector('#problems').hidden") is True
    swarm.change[2] = lambda step, now: {"state_digest": "ff" * 8}
    swarm.run(3)
    browser.wait("document.querySelector('[data-problem=digests-differ]') !== null", 15)
    assert browser.text("#step") == "Step 143 of 2,000", "no reload in between"
    assert friendly_name(swarm.ids[2]) in browser.text("[data-problem=digests-differ]")
    assert browser.evaluate("document.querySelector('#verdict').dataset.status") == "critical"


def test_it_paints_within_a_second_and_loads_nothing_from_elsewhere(url: str, browser: Browser) -> None:
    browser.open(url + "/")
    browser.wait(READY)
    browser.wait("performance.getEntriesByType('paint').length > 0")
    paints = browser.evaluate("performance.getEntriesByType('paint').map(each => each.startTime)")
    assert max(paints) < 1000
    loaded = browser.evaluate("performance.getEntriesByType('resource').map(each => each.name)")
    assert loaded
    assert all(each.startswith(url) for each in loaded)


def test_a_phone_needs_no_sideways_scrolling_and_the_dark_is_dark(url: str, browser: Browser) -> None:
    browser.open(url + "/", width=360, height=740, dark=True, mobile=True)
    browser.wait(READY)
    assert browser.evaluate("document.documentElement.scrollWidth <= 360")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"


def test_every_control_has_a_name_and_every_picture_a_description(url: str, browser: Browser) -> None:
    browser.open(url + "/")
    browser.wait(READY)
    tree = browser.send("Accessibility.getFullAXTree")["nodes"]
    wanted = {"button", "link", "progressbar", "image", "status", "table"}
    found = [node for node in tree if node.get("role", {}).get("value") in wanted and not node.get("ignored")]
    named = {node["role"]["value"] for node in found if node.get("name", {}).get("value")}
    assert {"button", "link", "progressbar", "image"} <= named
    assert not [n for n in found if n["role"]["value"] in ("button", "link", "image") and not n["name"]["value"]]
    assert browser.evaluate("document.documentElement.lang") == "en"


# WCAG 2.1, 1.4.3: [contrast, where] of each piece of text that stands out too little from what is behind it.
CONTRASTS = """[...document.querySelectorAll('body *')]
  .filter(e => e.getClientRects().length && [...e.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map((e) => {
    const numbers = (text) => text.match(/[0-9.]+/g).map(Number);
    const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const light = (text) => numbers(text).slice(0, 3).reduce(
      (sum, value, index) => sum + linear(value / 255) * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (of) => getComputedStyle(of).backgroundColor;
    let behind = e;
    while (behind.parentElement && numbers(ground(behind))[3] === 0) behind = behind.parentElement;
    const ink = light(getComputedStyle(e)[e instanceof SVGElement ? 'fill' : 'color']), below = light(ground(behind));
    const contrast = (Math.max(ink, below) + 0.05) / (Math.min(ink, below) + 0.05);
    return [contrast, `${e.tagName} ${e.textContent.slice(0, 40)}`];
  }).filter(found => found[0] < 4.5)"""


def test_all_text_stands_out_in_light_and_dark_and_the_keyboard_gets_everywhere(
    swarm: Pretend, url: str, browser: Browser
) -> None:
    swarm.change[2] = lambda step, now: {"state_digest": "ff" * 8, "samples_per_second": 0.1, "disk_free_bytes": 1}
    swarm.run(12)
    for dark in (False, True):
        browser.open(url + "/", dark=dark)
        browser.wait(READY)
        assert browser.evaluate(CONTRASTS) == [], "contrast under 4.5 : 1 (WCAG 1.4.3)"
    reached = []
    for _ in range(8):
        for kind in ("rawKeyDown", "keyUp"):
            browser.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(browser.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", reached[-1]
        if reached[-1] == "JSON":
            break
    assert reached[0] == "Skip to the content"
    assert {"command", "copy", "metrics", "JSON"} <= set(reached)


SPOKEN = """window.spoken = 0; new MutationObserver((seen) => { window.spoken += seen.length; }).observe(
  document.querySelector('#verdict'), {subtree: true, childList: true, characterData: true})"""


def test_what_did_not_change_keeps_the_reader_s_place(swarm: Pretend, url: str, browser: Browser) -> None:
    browser.open(url + "/")
    browser.wait(READY)
    assert browser.evaluate("document.querySelectorAll('[aria-live], [role=status]').length") == 2, "verdict and copied"
    browser.evaluate("window.kept = document.querySelector('#languages li'); null")
    browser.evaluate(SPOKEN)
    asked = "performance.getEntriesByType('resource').filter(each => each.name.endsWith('/swarm')).length"
    browser.wait(f"{asked} > {browser.evaluate(asked)}")
    assert browser.evaluate("window.kept.isConnected"), "nothing new, so nothing was replaced"
    assert browser.evaluate("window.spoken") == 0, "a screen reader is not told the same every two seconds"


def test_hostile_text_is_shown_as_text_and_runs_nothing(browser: Browser) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    swarm = Pretend(peers=3)
    swarm.watch = Watch(facts(name=evil, description=evil), clock=lambda: swarm.now)
    swarm.run(3)
    for known in swarm.watch.view.known.values():  # worse than any record can be: the schema refuses markup
        known.record = known.record.model_copy(update={"version": evil, "state": evil, "role": "trainer"})
    server = Server(api_routes(swarm.watch), 0)
    server.start()
    try:
        browser.open(server.url + "/")
        browser.wait(READY)
        assert browser.evaluate("document.images.length + document.querySelectorAll('body script').length") == 0
        assert "onerror" in browser.text("#name")
        assert "onerror" in browser.text("#peers")
        assert browser.evaluate("document.title") != "owned"
    finally:
        server.close()


def test_a_monitor_that_went_away_is_said(swarm: Pretend, browser: Browser) -> None:
    server = Server(api_routes(swarm.watch), 0)
    server.start()
    browser.open(server.url + "/")
    browser.wait(READY)
    server.close()
    browser.wait("document.querySelector('#verdict').dataset.status === 'stale'", 30)
    assert "out of date" in browser.text("#words")


def test_a_peer_s_own_page_knows_which_peer_it_is(browser: Browser) -> None:
    swarm = Pretend(peers=3)
    watch = Watch(facts(), source=swarm.records, me=swarm.ids[1], clock=lambda: swarm.now)
    server = Server(api_routes(watch), 0)
    server.start()
    try:
        browser.open(server.url + "/")
        browser.wait(READY)
        assert browser.text("#name") == f"{friendly_name(swarm.ids[1])} in many-tongues"
        assert browser.text("#peers .me b") == friendly_name(swarm.ids[1])
    finally:
        server.close()


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_the_api_names_no_address_and_problem_must_be_known(swarm: Pretend, url: str) -> None:
    for path in ("peers", "rounds", "languages", "problems"):
        assert "/ip4/" not in json.dumps(get(f"{url}/api/v1/{path}"))
    assert len(get(f"{url}/api/v1/peers")["peers"]) == 6
    assert get(f"{url}/api/v1/peers?problem=forked") == {"peers": []}
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{url}/api/v1/peers?problem=nonsense")
    assert refused.value.code == 400


def test_the_badge_is_a_picture(url: str) -> None:
    with urllib.request.urlopen(url + "/badge.svg", timeout=10) as answer:
        assert ET.fromstring(answer.read()).attrib["aria-label"] == "swarm: healthy · step 140 of 2,000"
        assert answer.headers["Content-Type"].startswith("image/svg+xml")
