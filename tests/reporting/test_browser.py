"""The page in a real browser, from disk and without a network."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from browsing import axe, needs_browser
from PIL import Image
from run_data import make_reports, make_trained, run_params
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from heml.explanation.drawing import FULL_EDGE
from heml.explanation.pairs import signed
from heml.reporting.finished import Finished
from heml.reporting.page import write_report
from heml.run import Run

HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'

pytestmark = needs_browser


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory) -> webdriver.Chrome:
    """The page of a run whose image ids, label and class names are hostile."""
    root = tmp_path_factory.mktemp("page")
    params = run_params("Title " + HOSTILE)
    make_reports(make_trained(root, params, HOSTILE), params, HOSTILE)
    write_report(Finished.read(params, Run(root)))
    browser.get((root / "reports" / "index.html").as_uri())
    for _ in range(100):
        if browser.find_element(By.ID, "explorer").is_displayed():
            break
        time.sleep(0.1)
    return browser


def wait(until, seconds=10):
    """What is drawn when photographs have come."""
    for _ in range(10 * seconds):
        if until():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come")


def told(page):
    """The page's data."""
    return json.loads(page.execute_script("return document.getElementById('explorer-data').textContent"))


def in_view(page, element):
    return page.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return r.top >= 0 && r.bottom <= window.innerHeight;", element
    )


def choose(page, first, second):
    """The pair of two test images."""
    Select(page.find_element(By.ID, "first")).select_by_value(str(first))
    Select(page.find_element(By.ID, "second")).select_by_value(str(second))
    ids = [image["id"] for image in told(page)["images"]]
    wait(
        lambda: (
            [c.text.rpartition(" (")[0] for c in page.find_elements(By.CSS_SELECTOR, "#photos figcaption")]
            == [ids[first], ids[second]]
        )
    )


def nodes(page):
    return page.find_elements(By.CSS_SELECTOR, "#stage .node")


def test_it_loads_without_a_console_error_or_a_request_to_anywhere(page):
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert urls
    assert all(url.startswith(("file://", "data:")) for url in urls)


def test_hostile_names_are_text(page):
    assert page.title == "Title " + HOSTILE
    assert not page.find_elements(By.CSS_SELECTOR, "img[onerror], img[src='x']")
    shown = page.find_element(By.CSS_SELECTOR, "#panel-pair figcaption").text
    assert shown.endswith(HOSTILE)


def test_a_click_on_a_node_shows_its_neighbours_curve_and_worst_pairs(page):
    assert [node.find_element(By.CLASS_NAME, "name").text for node in nodes(page)] == ["both", "left", "right"]
    nodes(page)[1].click()
    assert [node.get_attribute("aria-pressed") for node in nodes(page)] == ["false", "true", "false"]
    assert page.find_element(By.CSS_SELECTOR, "#panel-near h4").text == "Most similar training images by left"
    assert len(page.find_elements(By.CSS_SELECTOR, "#panel-near .tile canvas")) == 8
    assert page.find_elements(By.CSS_SELECTOR, "#panel-curve svg path")
    worst = page.find_elements(By.CSS_SELECTOR, "#panel-worst .jump")
    assert worst
    before = page.find_element(By.ID, "verdict").text
    page.execute_script("arguments[0].click()", worst[0])
    wait(lambda: page.find_element(By.ID, "verdict").text != before)
    assert page.switch_to.active_element == page.find_element(By.ID, "verdict")
    assert in_view(page, page.find_element(By.ID, "verdict"))


def test_the_evidence_is_that_of_the_run(page):
    """Of every listed pair what the page shows against what Python has, and of any other pair that it sums to the
    sentence's odds."""
    found = page.execute_script(
        "const d = JSON.parse(document.getElementById('explorer-data').textContent);return d.listed.filter(p =>"
        " p.second < d.tests).map(p => [p.first, p.second, p.distance, p.evidence, p.sentence]);"
    )
    assert found
    for first, second, distances, evidence, sentence in found:
        choose(page, first, second)
        chips = [node.find_element(By.CLASS_NAME, "chip").text.removesuffix(" (speck)") for node in nodes(page)]
        assert chips == [
            "absent" if d is None else ("0" if e == 0 else signed(e)) for d, e in zip(distances, evidence, strict=True)
        ]
        assert page.find_element(By.ID, "verdict").text.startswith(sentence)
        script = "return [...document.querySelectorAll('#stage path')].map(p => parseFloat(p.style.strokeWidth))"
        assert page.execute_script(script) == pytest.approx(
            [1 + 10 * min(abs(e) / FULL_EDGE, 1) for e in evidence[1:]], abs=0.01
        )


def test_any_pair_has_the_decision_that_its_evidence_sums_to(page):
    for first, second in ((0, 5), (3, 8), (2, 11)):
        choose(page, first, second)
        chips = [node.find_element(By.CLASS_NAME, "chip").text.removesuffix(" (speck)") for node in nodes(page)]
        total = sum(float(chip.replace("−", "-")) for chip in chips if chip != "absent")
        if abs(total) > 0.02:
            assert page.find_element(By.ID, "verdict").text.startswith("Same" if total > 0 else "Different")


def test_the_tree_works_by_keyboard(page):
    root, left, right = nodes(page)
    root.send_keys(Keys.ARROW_DOWN)
    assert page.switch_to.active_element == left
    left.send_keys(Keys.ARROW_RIGHT)
    assert page.switch_to.active_element == right
    right.send_keys(Keys.ENTER)
    assert right.get_attribute("aria-pressed") == "true"
    right.send_keys(Keys.ARROW_UP)
    assert page.switch_to.active_element == root
    root.send_keys(Keys.END)
    assert page.switch_to.active_element == right
    right.send_keys(Keys.HOME)
    assert page.switch_to.active_element == root
    assert [node.get_attribute("tabindex") for node in nodes(page)] == ["0", "-1", "-1"]


def test_everything_has_a_name_for_a_screen_reader(page):
    assert all(
        "distance" in node.get_attribute("aria-label") or "absent" in node.get_attribute("aria-label")
        for node in nodes(page)
    )
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('img:not([alt]), canvas[role=img]:not([aria-label]), select,"
        " button')].filter(e => e.tagName === 'IMG' || e.tagName === 'CANVAS' || !(e.labels && e.labels.length) &&"
        " !e.textContent.trim() && !e.getAttribute('aria-label')).map(e => e.outerHTML.slice(0, 80))"
    )
    assert unnamed == []
    assert page.execute_script("return document.documentElement.lang") == "en"


def test_a_table_sorts_by_a_column_and_says_so(page):
    table = page.find_element(By.CSS_SELECTOR, "#nodes table")
    button = table.find_elements(By.CSS_SELECTOR, "th button")[1]
    for direction in ("descending", "ascending"):
        page.execute_script("arguments[0].click()", button)
        assert table.find_elements(By.TAG_NAME, "th")[1].get_attribute("aria-sort") == direction
        values = [
            float(row.find_elements(By.TAG_NAME, "td")[0].text)
            for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")
        ]
        assert values == sorted(values, reverse=direction == "descending")


def test_switching_a_part_off_is_what_the_metric_without_its_nodes_says(page):
    """Evidence, decision and score against sums written here over the page's own distances."""
    data = told(page)
    tests, labels = data["tests"], [image["label"] for image in data["images"]]
    far = {node["name"]: np.frombuffer(base64.b64decode(node["pairs"]), "<u2") for node in data["nodes"]}
    kept = [node for node in data["nodes"] if data["leaves"].index("left") not in node["leaves"]]
    assert [node["name"] for node in kept] == ["right"]

    def right(nodes):
        apart = np.full((tests, tests), np.inf)
        known = {
            n["name"]: np.where(far[n["name"]] == 65535, n["threshold"], (far[n["name"]] / 65534) ** 2) for n in nodes
        }
        apart[np.triu_indices(tests, 1)] = sum(n["weight"] * known[n["name"]] for n in nodes)
        apart = np.minimum(apart, apart.T)
        return sum(labels[int(row.argmin())] == labels[k] for k, row in enumerate(apart))

    choose(page, 0, 5)
    before = page.find_element(By.ID, "verdict").text
    left = page.find_elements(By.CSS_SELECTOR, "#parts input")[data["leaves"].index("left")]
    page.execute_script("arguments[0].click()", left)
    chips = [node.find_element(By.CLASS_NAME, "chip").text.removesuffix(" (speck)") for node in nodes(page)]
    assert chips[:2] == ["off", "off"]
    sentence = page.find_element(By.ID, "whatif").text
    assert sentence.startswith("Without left: these two are ")
    assert f"Of the {tests} test images here, {right(kept)} instead of {right(data['nodes'])} have" in sentence
    assert page.find_element(By.ID, "told").get_attribute("textContent") == sentence
    assert page.find_elements(By.CSS_SELECTOR, ".photo .part.off")
    page.execute_script("arguments[0].click()", page.find_element(By.ID, "undo"))
    assert page.find_element(By.ID, "verdict").text == before
    assert not left.is_selected()


def test_the_gallery_filters_finds_and_leads_to_a_pair(page):
    shown = lambda: page.find_element(By.ID, "count").text  # noqa: E731
    assert shown().startswith("48 of 48 images")
    Select(page.find_element(By.ID, "of-split")).select_by_value("test")
    assert shown().startswith("12 of 48")
    page.find_element(By.ID, "sought").send_keys("i04")
    found = page.find_elements(By.CSS_SELECTOR, "#thumbs .thumb")
    assert found
    assert all(
        "i04" in thumb.get_attribute("aria-label") and ", test" in thumb.get_attribute("aria-label") for thumb in found
    )
    page.execute_script("arguments[0].click()", found[0])
    name = found[0].get_attribute("title")
    wait(lambda: page.find_element(By.CSS_SELECTOR, "#chosen h3").text == name)
    assert len(page.find_elements(By.CSS_SELECTOR, "#chosen .tile")) == 4
    Select(page.find_element(By.ID, "by")).select_by_visible_text("right")
    points = page.find_elements(By.CSS_SELECTOR, "#map > svg .point")
    data = told(page)
    right = next(node for node in data["nodes"] if node["name"] == "right")
    assert len(points) == np.sum(np.frombuffer(base64.b64decode(right["map"]), "<u2")[::2] != 65535)
    page.find_element(By.ID, "sought").clear()
    page.execute_script(
        "document.getElementById('of-split').value = ''; document.getElementById('of-split').dispatchEvent(new"
        " Event('change'))"
    )


def test_an_address_leads_to_its_pair_and_node(page):
    data = told(page)
    first, second = (quote(data["images"][k]["id"]) for k in (3, 7))
    page.execute_script(f"location.hash = 'pair={first},{second}&node=left'")
    captions = lambda: [c.text for c in page.find_elements(By.CSS_SELECTOR, "#photos figcaption")]  # noqa: E731
    wait(
        lambda: captions()[0].startswith(data["images"][3]["id"]) and captions()[1].startswith(data["images"][7]["id"])
    )
    assert [node.get_attribute("aria-pressed") for node in nodes(page)] == ["false", "true", "false"]
    page.execute_script("location.hash = 'pair=nobody,no%20one&node=nothing'")
    assert page.get_log("browser") == []


def test_a_narrow_window_makes_the_tree_a_list_and_back(page):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    )
    wait(lambda: "indented" in page.find_element(By.ID, "stage").get_attribute("class"))
    lefts, tops = zip(*((node.rect["x"], node.rect["y"]) for node in nodes(page)), strict=True)
    assert lefts[0] < lefts[1] == lefts[2]
    assert list(tops) == sorted(tops)
    assert all(node.find_element(By.CLASS_NAME, "chip").text for node in nodes(page))
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    wait(lambda: "indented" not in page.find_element(By.ID, "stage").get_attribute("class"))
    tops = [node.rect["y"] for node in nodes(page)]
    assert tops[0] < tops[1] == tops[2]


def test_a_pair_is_saved_as_a_picture(page, tmp_path):
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.execute_script("arguments[0].click()", page.find_element(By.ID, "save"))
    wait(lambda: (tmp_path / "pair.png").is_file())
    picture = Image.open(tmp_path / "pair.png")
    assert picture.width == 720
    assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50


def test_a_table_is_downloaded_as_it_stands(page, tmp_path):
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.execute_script("arguments[0].click()", page.find_element(By.CSS_SELECTOR, "#cost .csv"))
    wait(lambda: (tmp_path / "Time_and_memory.csv").is_file())
    found = pd.read_csv(tmp_path / "Time_and_memory.csv")
    assert sorted(found.iloc[:, 0]) == ["both", "left", "right"]


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize(
    "look", [("prefers-color-scheme", "light"), ("prefers-color-scheme", "dark"), ("forced-colors", "active")]
)
def test_axe_finds_nothing(page, width, look):
    """WCAG 2.2, A and AA, and best practices, with everything open."""
    name, value = look
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": name, "value": value}]})
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    page.refresh()
    wait(lambda: page.find_element(By.ID, "explorer").is_displayed())
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.execute_cdp_cmd("Runtime.evaluate", {"expression": axe()})
    found = page.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then(done)"
    )
    told = [(v["id"], v["help"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found["violations"]]
    assert told == []
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
