"""The page in a real headless browser: Debian's chromium (apt-get install chromium
chromium-driver)."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ffanalysis.page import build
from ffanalysis.source import Source

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not CHROMIUM or not DRIVER:
    pytest.skip(
        "no chromium or chromedriver here: apt-get install chromium chromium-driver",
        allow_module_level=True,
    )
webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'ffbench[dev]'")

RECORDED = Path(__file__).parents[1] / "recorded" / "data"
WIDE, NARROW = 1280, 390
ROWS = 31  # 33 recorded runs, three of which are seeds of one setting
OVERFLOWING = """
const inScroller = (node) => { for (let n = node.parentElement; n; n = n.parentElement)
  if (["auto", "scroll"].includes(getComputedStyle(n).overflowX)) return true; return false; };
return [...document.body.querySelectorAll("*:not(svg *)")].filter((node) => { const box = node.getBoundingClientRect();
  return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1) && !inScroller(node); }).map((node) => node.outerHTML.slice(0, 80));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        *(["--no-sandbox"] if os.getuid() == 0 else []),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(build(Source(RECORDED, RECORDED)))
    return path.as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Any:
    size(browser, WIDE)
    browser.get("about:blank")
    browser.get(address)
    return browser


def size(browser: Any, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    until(browser, "return innerWidth === arguments[0]", width)


def column(browser: Any, name: str) -> list[str]:
    """Texts of one column in the order shown, hidden rows left out."""
    return browser.execute_script(
        """
        const heads = [...document.querySelectorAll("th")].map((head) => head.textContent.trim());
        const index = heads.findIndex((text) => text.startsWith(arguments[0]));
        return [...document.getElementById("runs").tBodies].filter((body) => !body.hidden)
          .map((body) => body.rows[0].cells[index].firstElementChild.textContent);""",
        name,
    )


def until(browser: Any, script: str, *arguments: Any) -> None:
    """Wait for a condition in JavaScript that the page meets in a later task, such as after a
    hashchange or a new size."""
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 30).until(
        lambda one: one.execute_script(script, *arguments), f"never true: {script}"
    )


def press(browser: Any, name: str) -> None:
    next(
        button
        for button in browser.find_elements("css selector", "th button")
        if button.text.startswith(name)
    ).click()


def choose(browser: Any, name: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(browser.find_element("css selector", f"[data-filter={name}]")).select_by_visible_text(
        value
    )


def test_opens_without_console_messages(opened: Any) -> None:
    opened.find_element("css selector", "th button").click()
    opened.execute_script(
        "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
    )
    assert opened.get_log("browser") == [] and opened.title == "FFBench: recorded_model"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_overflows(opened: Any, width: int) -> None:
    size(opened, width)
    opened.execute_script(
        "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    assert opened.execute_script(OVERFLOWING) == []


def test_sorting_both_ways_with_empty_cells_last(opened: Any) -> None:
    name = "answer KL"
    press(opened, name)
    shown = column(opened, name)
    up = [text for text in shown if text != "-"]
    assert len(up) > 20 and up == sorted(up, key=float)
    assert shown[len(up) :] == ["-"] * (ROWS - len(up))
    press(opened, name)
    down = column(opened, name)
    assert [text for text in down if text != "-"] == sorted(up, key=float, reverse=True)
    assert down[-1] == "-"
    head = next(
        head for head in opened.find_elements("css selector", "th") if head.text.startswith(name)
    )
    assert head.get_attribute("aria-sort") == "descending"
    press(opened, "selector")
    up = column(opened, "selector")
    press(opened, "selector")
    assert up[0] == "dense" and column(opened, "selector")[0] == "wina_rule" and up != down
    assert list(dict.fromkeys(column(opened, "selector"))) == list(dict.fromkeys(reversed(up)))


def test_filters_and_search_and_reset(opened: Any) -> None:
    choose(opened, "selector", "static")
    choose(opened, "sparsity", "0.5")
    assert sorted(column(opened, "compensator")) == ["none", "surrogate"]
    assert opened.find_element("id", "count").text == f"2 of {ROWS} rows"
    opened.find_element("id", "search").send_keys("compensator=none")
    assert column(opened, "compensator") == ["none"]
    opened.find_element("id", "search").send_keys(" nothing-like-this")
    assert column(opened, "selector") == [] and opened.find_element("id", "none").is_displayed()
    opened.find_element("css selector", "button[type=reset]").click()
    assert len(column(opened, "selector")) == ROWS
    assert not opened.find_element("id", "none").is_displayed()


def test_answers_are_filtered_by_task_and_change(opened: Any) -> None:
    from selenium.webdriver.support.select import Select

    def shown() -> list[Any]:
        articles = opened.find_elements("css selector", "#pairs article")
        return [article for article in articles if article.is_displayed()]

    every = len(shown())
    Select(opened.find_element("id", "pairs-task")).select_by_visible_text("embedded_code")
    of_task = shown()
    assert 0 < len(of_task) < every and all("embedded_code" in one.text for one in of_task)
    opened.find_element("id", "pairs-changed").click()
    changed = shown()
    assert all(one.get_attribute("data-changed") == "yes" for one in changed)
    text = opened.find_element("id", "pairs-count").text
    assert text == f"{len(changed)} of {every} answers"


def test_a_run_behind_a_row_of_seeds_can_be_linked_to(opened: Any, address: str) -> None:
    opened.get("about:blank")
    opened.get(f"{address}#run-{33:016x}")
    until(opened, "return document.querySelector('details:target[open]') !== null")
    assert '"seed": 2' in opened.find_element("css selector", "details:target").text


def test_narrow_screens_sort_by_a_list(opened: Any) -> None:
    from selenium.webdriver.support.select import Select

    size(opened, NARROW)
    Select(opened.find_element("id", "sort")).select_by_visible_text("sparsity")
    assert column(opened, "sparsity") == sorted(column(opened, "sparsity"), key=float)


def test_a_run_s_details_are_one_click_away(opened: Any) -> None:
    opened.find_element("css selector", "#headline a").click()
    until(opened, "return document.querySelector('tbody:target details[open]') !== null")
    body = opened.find_element("css selector", "tbody:target")
    assert '"recording": "test, not measured"' in body.text and '"sparsity"' in body.text
    other = opened.find_element("css selector", f"#run-{9:016x} summary")
    opened.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", other
    )
    other.click()
    until(opened, "return arguments[0].parentElement.open", other)
    assert '"block_size": 128' in opened.find_element("id", f"run-{9:016x}").text


def test_pictures_are_seen(opened: Any) -> None:
    boxes = opened.execute_script(
        "return [...document.querySelectorAll('figure svg')].map((one) => one.getBoundingClientRect().height)"
    )
    assert len(boxes) == 13 and min(boxes) > 200


def test_dark_and_print(opened: Any) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    light = opened.execute_script(background)
    try:
        opened.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
        )
        assert opened.execute_script(background) != light
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert (
            not opened.find_element("id", "controls").is_displayed()
            and opened.execute_script(background) == light
        )
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
