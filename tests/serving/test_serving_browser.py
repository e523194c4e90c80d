"""The served page in a real browser: photographs are dropped, named badly, too large, no photographs; and a run that
takes none."""

from __future__ import annotations

import base64
import json
import shutil
import time

import pytest
from browsing import axe, needs_browser
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from heml.explanation.metric_tree import MetricTree
from heml.explanation.pairs import signed

HOSTILE = '"><img src=x onerror="document.title=1"><b>'

pytestmark = needs_browser

DROP = """
const [target, files] = arguments;
const transfer = new DataTransfer();
for (const [name, text] of files) {
  transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
}
const about = { dataTransfer: transfer, bubbles: true, cancelable: true };
for (const kind of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(kind, about));
"""


def wait(until, seconds=15):
    for _ in range(20 * seconds):
        if until():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")


@pytest.fixture
def page(browser, servers) -> webdriver.Chrome:
    """The page anew, of the run with a network."""
    return opened(browser, servers["network"].address)


def opened(browser, address):
    browser.get(address)
    wait(lambda: browser.find_element(By.ID, "desk").is_displayed())
    browser.get_log("browser")
    return browser


def captions(page):
    return page.execute_script(
        "return [...document.querySelectorAll('#photos figcaption')].map((caption) => caption.textContent)"
    )


def message(page):
    return page.find_element(By.ID, "desk-told").text


def drop(page, files, target="body"):
    """Files as (name, bytes) on an element."""
    element = page.find_element(By.CSS_SELECTOR, target)
    page.execute_script(DROP, element, [(name, base64.b64encode(data).decode()) for name, data in files])


def drop_two(page, photographs):
    drop(page, [("a.png", photographs[0].read_bytes()), ("b.png", photographs[1].read_bytes())])
    wait(lambda: captions(page) == ["a.png (label unknown)", "b.png (label unknown)"])


def test_two_files_are_dropped_and_the_page_says_why(page, network_run, photographs):
    drop_two(page, photographs)
    found = MetricTree.load(network_run / "models", network_run / "data").explain(*photographs[:2])
    assert page.find_element(By.ID, "verdict").text == found.sentence  # nothing of labels, which nobody knows
    assert page.switch_to.active_element == page.find_element(By.ID, "verdict")
    chips = [
        node.find_element(By.CLASS_NAME, "chip").text.removesuffix(" (speck)")
        for node in page.find_elements(By.CSS_SELECTOR, ".node")
    ]
    assert chips == [signed(found.nodes[name].evidence) for name in ("both", "left", "right")]
    assert page.find_elements(By.CSS_SELECTOR, ".photo .part")
    assert message(page) == ""
    assert len(page.find_elements(By.CSS_SELECTOR, ".slot .tile canvas")) == 8
    assert not page.find_elements(By.CSS_SELECTOR, ".slot .tile.right, .slot .tile.wrong")
    assert not page.find_element(By.ID, "link").is_enabled()
    assert page.get_log("browser") == []


def test_parts_of_photographs_are_switched_off(page, network_run, photographs):
    drop_two(page, photographs)
    left = page.find_elements(By.CSS_SELECTOR, "#parts input")[0]
    page.execute_script("arguments[0].click()", left)
    right = MetricTree.load(network_run / "models", network_run / "data").explain(*photographs[:2]).nodes["right"]
    chips = [
        node.find_element(By.CLASS_NAME, "chip").text.removesuffix(" (speck)")
        for node in page.find_elements(By.CSS_SELECTOR, ".node")
    ]
    assert chips == ["off", "off", signed(right.evidence)]
    assert page.find_element(By.ID, "verdict").text.startswith("Same" if right.evidence > 0 else "Different")
    assert page.find_element(By.ID, "whatif").text.startswith("Without left: these two are ")
    assert page.get_log("browser") == []


def test_the_gallery_shows_a_photograph_and_leads_to_pairs_with_it(page, photographs):
    drop(page, [("mine.png", photographs[2].read_bytes())], ".slot:nth-of-type(2)")
    wait(lambda: page.find_element(By.CSS_SELECTOR, "#chosen h3").text == "mine.png")
    assert page.find_element(By.ID, "count").text.startswith("49 of 49 images")
    page.execute_script(
        "const s = document.getElementById('of-split'); s.value = 'yours'; s.dispatchEvent(new Event('change'))"
    )
    assert [thumb.get_attribute("title") for thumb in page.find_elements(By.CSS_SELECTOR, "#thumbs .thumb")] == [
        "mine.png"
    ]
    near = page.find_element(By.CSS_SELECTOR, "#chosen .tile")
    other = near.find_element(By.TAG_NAME, "figcaption").text
    page.execute_script("arguments[0].click()", near.find_elements(By.CSS_SELECTOR, ".jump")[1])
    wait(lambda: [caption.partition(" ")[0] for caption in captions(page)] == ["mine.png", other])
    page.execute_script("const s = document.getElementById('by'); s.value = '1'; s.dispatchEvent(new Event('change'))")
    wait(lambda: "by left" in page.find_element(By.ID, "chosen").text)
    assert page.find_element(By.CSS_SELECTOR, ".slot:nth-of-type(1) .face").text == ""
    assert page.get_log("browser") == []


def test_a_file_and_an_image_of_the_gallery(page, photographs):
    page.find_elements(By.CSS_SELECTOR, ".slot input[type=file]")[0].send_keys(str(photographs[3]))
    wait(lambda: page.find_elements(By.CSS_SELECTOR, ".slot:nth-of-type(1) canvas"))
    field = page.find_elements(By.CSS_SELECTOR, ".slot input[type=search]")[1]
    field.send_keys("nobody\t")
    wait(lambda: message(page) == "nobody: no image of the gallery here has this id.")
    field.clear()
    field.send_keys("i001\t")
    wait(lambda: [caption.partition(" ")[0] for caption in captions(page)] == ["photo_3.png", "i001"])
    assert message(page) == ""


def test_a_hostile_name_is_text(page, photographs, tmp_path):
    file = tmp_path / f"{HOSTILE}.png"
    shutil.copy(photographs[0], file)
    page.find_element(By.CSS_SELECTOR, ".slot input[type=file]").send_keys(f"{file}\n{photographs[1]}")
    wait(lambda: captions(page) == [f"{HOSTILE}.png (label unknown)", "photo_1.png (label unknown)"])
    assert page.title == "A run"
    assert not page.find_elements(By.CSS_SELECTOR, "img[onerror], img[src='x'], #yours b")
    drop(page, [(f"{HOSTILE}.txt", b"no image")])
    wait(lambda: message(page).startswith(f"{HOSTILE}.txt: not a readable"))
    assert not page.find_elements(By.CSS_SELECTOR, "img[onerror], img[src='x'], #yours b")


def test_what_is_no_photograph_is_one_message(page, photographs, tmp_path):
    Image.new("1", (10_000, 6_000)).save(tmp_path / "huge.png")
    drop(page, [("huge.png", (tmp_path / "huge.png").read_bytes()), ("b.png", photographs[1].read_bytes())])
    wait(lambda: message(page).startswith("huge.png: 10000×6000 is 60 megapixels"))
    faces = [face.text for face in page.find_elements(By.CSS_SELECTOR, ".slot .face")]
    assert faces == ["", "b.png (label unknown)"]  # the other was taken
    drop(page, [("no.png", b"no image")])
    wait(lambda: message(page).startswith("no.png: not a readable"))
    (tmp_path / "large.bmp").write_bytes(bytes(20_000_001))
    page.find_element(By.CSS_SELECTOR, ".slot input[type=file]").send_keys(str(tmp_path / "large.bmp"))
    wait(lambda: message(page) == "large.bmp: is larger than 20 MB; save it smaller.")


def test_the_oldest_photograph_leaves_the_page_where_the_server_forgets_it(page, servers, photographs):
    drop_two(page, photographs)
    first = page.find_element(By.ID, "first")
    assert "a.png (yours)" in first.text
    data = photographs[2].read_bytes()
    for _ in range(19):
        assert servers["network"].add(data)[0] == 200
    drop(page, [("c.png", data)], ".slot:nth-of-type(2)")
    wait(lambda: "c.png (yours)" in first.text)
    assert "a.png (yours)" not in first.text
    wait(
        lambda: (
            [face.text for face in page.find_elements(By.CSS_SELECTOR, ".slot .face")] == ["", "c.png (label unknown)"]
        )
    )
    for _ in range(20):  # forgotten for another page's sake, of which this one knows nothing
        servers["network"].add(data)
    field = page.find_elements(By.CSS_SELECTOR, ".slot input[type=search]")[0]
    field.send_keys("i001\t")
    wait(lambda: "no longer held" in message(page))


def test_it_asks_nobody_but_its_own_server(page, servers, photographs):
    page.get_log("performance")
    drop_two(page, photographs)
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert sum("/images?" in url for url in urls) == 2
    assert all(url.startswith((servers["network"].address, "data:", "blob:")) for url in urls)
    assert page.get_cookies() == []
    refused = page.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.2:1/').then(() => done(false), () => done(true))"
    )
    assert refused
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


def test_without_the_token_there_is_no_page(browser, servers):
    browser.get(f"http://{servers['network'].host}/")
    assert "the address lacks the token" in browser.page_source
    assert not browser.find_elements(By.ID, "desk")


def test_a_run_of_masks_says_so_and_compares_its_gallery(browser, servers, photographs):
    page = opened(browser, servers["masks"].address)
    assert "it cannot find them in new photographs" in page.find_element(By.ID, "desk").text
    assert not page.find_elements(By.CSS_SELECTOR, "#desk input[type=file]")
    drop(page, [("a.png", photographs[0].read_bytes())])
    wait(lambda: message(page).startswith("This run cannot find its parts in new photographs"))
    for field, name in zip(
        page.find_elements(By.CSS_SELECTOR, ".slot input[type=search]"), ("i000", "i001"), strict=True
    ):
        field.send_keys(f"{name}\t")
        wait(lambda name=name: name in page.find_element(By.CSS_SELECTOR, ".slots").text)
    wait(lambda: [caption.partition(" ")[0] for caption in captions(page)] == ["i000", "i001"])
    assert "i000 is red, i001 is red" in page.find_element(By.ID, "verdict").text
    assert page.get_log("browser") == []


@pytest.mark.parametrize(("width", "look"), [(1440, "light"), (390, "dark")])
def test_axe_finds_nothing(page, photographs, width, look):
    """WCAG 2.2, A and AA, and best practices, with two photographs in."""
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": look}]})
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    drop_two(page, photographs)
    page.execute_cdp_cmd("Runtime.evaluate", {"expression": axe()})
    found = page.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then(done)"
    )
    told = [(v["id"], v["help"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found["violations"]]
    assert told == []
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
