"""The page in a real browser, from disk and without a network."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator

import pytest
from run_data import make_reports, make_trained, run_params
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from heml.explanation.drawing import FULL_EDGE
from heml.explanation.pairs import signed
from heml.reporting.page import load_run, write_report

HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Chromium and its driver: apt-get install chromium chromium-driver")


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1400,1200",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory) -> webdriver.Chrome:
    """The page of a run whose image ids, label and class names are hostile."""
    root = tmp_path_factory.mktemp("page")
    params = run_params("Title " + HOSTILE)
    make_reports(root, params, make_trained(root, params, HOSTILE), HOSTILE)
    write_report(load_run(params, root), root / "reports")
    browser.get((root / "reports" / "index.html").as_uri())
    for _ in range(100):
        if browser.find_element(By.ID, "explorer").is_displayed():
            break
        time.sleep(0.1)
    return browser


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
    assert page.find_element(By.CSS_SELECTOR, "#panel-near h3").text == "Nearest training images by left"
    assert len(page.find_elements(By.CSS_SELECTOR, "#panel-near .tile canvas")) == 8
    assert page.find_elements(By.CSS_SELECTOR, "#panel-curve svg path")
    worst = page.find_elements(By.CSS_SELECTOR, "#panel-worst .jump")
    assert worst
    before = page.find_element(By.ID, "verdict").text
    worst[0].click()
    assert page.find_element(By.ID, "verdict").text != before


def test_the_evidence_is_that_of_the_run(page):
    """Of every listed pair what the page shows against what Python has, and of any other pair that it sums to the sentence's odds."""
    found = page.execute_script(
        "const d = JSON.parse(document.getElementById('explorer-data').textContent);"
        "return d.listed.filter(p => p.second < d.tests).map(p => [p.first, p.second, p.distance, p.evidence, p.sentence]);"
    )
    assert found
    for first, second, distances, evidence, sentence in found:
        Select(page.find_element(By.ID, "first")).select_by_value(str(first))
        Select(page.find_element(By.ID, "second")).select_by_value(str(second))
        chips = [node.find_element(By.CLASS_NAME, "chip").text for node in nodes(page)]
        assert chips == ["absent" if d is None else signed(e) for d, e in zip(distances, evidence, strict=True)]
        assert page.find_element(By.ID, "verdict").text.startswith(sentence)
        script = "return [...document.querySelectorAll('#stage path')].map(p => parseFloat(p.style.strokeWidth))"
        assert page.execute_script(script) == pytest.approx([1 + 10 * min(abs(e) / FULL_EDGE, 1) for e in evidence[1:]], abs=0.01)


def test_any_pair_has_the_decision_that_its_evidence_sums_to(page):
    for first, second in ((0, 5), (3, 8), (2, 11)):
        Select(page.find_element(By.ID, "first")).select_by_value(str(first))
        Select(page.find_element(By.ID, "second")).select_by_value(str(second))
        chips = [node.find_element(By.CLASS_NAME, "chip").text for node in nodes(page)]
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


def test_everything_has_a_name_for_a_screen_reader(page):
    assert all("distance" in node.get_attribute("aria-label") or "absent" in node.get_attribute("aria-label") for node in nodes(page))
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('img:not([alt]), canvas[role=img]:not([aria-label]), select, button')]"
        ".filter(e => e.tagName === 'IMG' || e.tagName === 'CANVAS' || !(e.labels && e.labels.length) && !e.textContent.trim() "
        "&& !e.getAttribute('aria-label')).map(e => e.outerHTML.slice(0, 80))"
    )
    assert unnamed == []
    assert page.execute_script("return document.documentElement.lang") == "en"


def test_a_table_sorts_by_a_column_and_says_so(page):
    table = page.find_element(By.CSS_SELECTOR, "#nodes ~ .wide table")
    button = table.find_elements(By.CSS_SELECTOR, "th button")[1]
    for direction in ("descending", "ascending"):
        page.execute_script("arguments[0].click()", button)
        assert table.find_elements(By.TAG_NAME, "th")[1].get_attribute("aria-sort") == direction
        values = [float(row.find_elements(By.TAG_NAME, "td")[1].text) for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
        assert values == sorted(values, reverse=direction == "descending")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(page, scheme):
    """Contrast of at least 4.5 : 1 (WCAG 2.2, AA)."""
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    colours = page.execute_script(
        "const s = getComputedStyle(document.documentElement); return Object.fromEntries("
        "['ink', 'soft', 'paper', 'card', 'bar'].map(n => [n, s.getPropertyValue('--' + n).trim()]))"
    )
    for text in ("ink", "soft", "bar"):
        for ground in ("paper", "card"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (scheme, text, ground)


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
