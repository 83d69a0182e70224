"""The HTML report in a real browser, which is driven through its own pipe: no package is needed for that."""

import json
import os
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from select import select

import pytest

from longbench_run.reports import html
from longbench_run.reports.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
# The browser reads commands from descriptor 3 and writes answers to 4; both are moved out of the way first.
START = (
    "import os, sys, fcntl;"
    "ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]];"
    "[os.dup2(end, place) for end, place in zip(ends, (3, 4))];"
    "os.execv(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 60


class Browser:
    """One page, and all that it complained of or asked for."""

    def __init__(self, profile):
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                START,
                str(commands),
                str(answers),
                CHROMIUM,
                *FLAGS,
                f"--user-data-dir={profile}",
            ],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer, self._number, self._session = b"", 0, None
        self.complaints, self.requests, self.events = [], [], []

    def start(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._read)
            os.close(self._write)

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                error = answer.get("error")
                if error and "navigated" in error["message"]:  # asked of the page that was about to be left
                    return self.call(method, **parameters)
                assert error is None, (method, error)
                return answer["result"]

    def _next(self):
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            assert select([self._read], [], [], max(0, deadline - time.monotonic()))[0], (
                "the browser is silent"
            )
            data = os.read(self._read, 1 << 20)
            assert data, "the browser has gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event, found):
        if event == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.complaints.append(found)
        if event in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening"):
            self.complaints.append(found)
        if event == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.complaints.append(found)
        if event == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])
        self.events.append(event)

    def open(self, path, fragment=""):
        self.events.clear()
        self.call("Page.navigate", url=f"{path.as_uri()}{fragment}")
        while "Page.loadEventFired" not in self.events:
            self._next()

    def find(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, title):
        """Wait for a page whose first heading is this; while one page follows another there is none."""
        deadline = time.monotonic() + PATIENCE
        while self.find("document.querySelector('h1')?.textContent") != title:
            assert time.monotonic() < deadline, f"no page {title!r}"
            time.sleep(0.05)

    def click(self, selector):
        box = self.find(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def press(self, key, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def prefer(self, *, media="", **features):
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media=media, features=named)


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        browser.start()
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="module")
def page(realistic_report):
    return realistic_report / "report.html"


def addresses(browser):
    """Return what was asked for outside of the page."""
    return {url for url in browser.requests if not url.startswith(("about:", "data:"))}


FIRST_TABLE = "#table-passkey-accuracy-bundled"
ROWS = f"[...document.querySelectorAll('{FIRST_TABLE} tbody tr')].map(row => row.cells[0].textContent)"
ORDER = f"[...document.querySelectorAll('{FIRST_TABLE} thead th')].map(head => head.ariaSort)"


def test_a_table_sorts_by_mouse_and_by_keyboard_and_says_so(browser, page):
    browser.open(page)
    assert browser.find(ROWS) == ["none", "pi", "yarn", "abf", "entropy_abf", "self_extend"]

    browser.click(f"{FIRST_TABLE} th:nth-child(5) button")
    ascending = browser.find(ROWS)
    assert (ascending[0], ascending[-1]) == ("none", "self_extend")
    assert browser.find(ORDER) == [None, None, None, None, "ascending"]

    browser.press("Enter", 13, "\r")
    assert browser.find(ROWS)[0] == "self_extend"
    assert browser.find(ORDER) == [None, None, None, None, "descending"]
    assert (
        browser.find("document.querySelector('[role=status]').textContent")
        == "Sorted by 4k (8x), descending."
    )

    browser.find(f"document.querySelector('{FIRST_TABLE} th button').focus()")
    browser.press(" ", 32, " ")
    assert browser.find(ROWS) == sorted(["none", "pi", "yarn", "abf", "entropy_abf", "self_extend"])
    assert browser.complaints == []


def test_a_number_leads_to_its_samples(browser, page):
    browser.open(page)
    cell = f"{FIRST_TABLE} tbody tr:nth-child(3) td:nth-child(5) a"
    number = browser.find(f"document.querySelector('{cell}').textContent")
    assert number.startswith("0.350 ")
    assert browser.find("document.querySelectorAll('details[open]').length") == 0

    browser.click(cell)
    browser.find("new Promise(resolve => setTimeout(resolve, 100))")
    opened = browser.find(
        "[...document.querySelectorAll('details[open]')].map(each => each.querySelector('summary').textContent)"
    )
    assert opened == ["yarn at 4k, passkey, protocol passkey-v1: 20 samples"]
    assert browser.find("document.activeElement.tagName") == "SUMMARY"
    texts = browser.find(
        "[...document.querySelectorAll('details[open] .sample')].map(each => each.innerText)"
    )
    assert len(texts) == 20
    assert sum("accuracy 1.0000" in text for text in texts) == 7
    assert all("12345" in text for text in texts)
    assert browser.complaints == []


def test_nothing_but_the_file_itself_is_asked_for(browser, page):
    browser.open(page)
    assert addresses(browser) == {page.as_uri()}
    assert browser.complaints == []


def test_figures_are_readable_in_the_dark_and_controls_are_not_printed(browser, page):
    colours = (
        "['body', '.drawing'].map(name => getComputedStyle(document.querySelector(name)).backgroundColor)"
    )
    browser.prefer(prefers_color_scheme="light")
    browser.open(page)
    assert browser.find(colours) == ["rgb(255, 255, 255)", "rgb(255, 255, 255)"]
    browser.prefer(prefers_color_scheme="dark")
    dark, drawing = browser.find(colours)
    assert max(map(int, dark[4:-1].split(","))) < 40
    assert drawing == "rgb(255, 255, 255)"
    browser.prefer(media="print")
    assert browser.find("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.complaints == []


def test_a_screen_reader_finds_landmarks_names_and_headings(browser, page):
    browser.open(page)
    browser.call("Accessibility.enable")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    roles = {role for role, _ in found}
    assert {"main", "navigation", "table", "columnheader", "rowheader", "button", "status", "figure"} <= roles
    for role in ("button", "link", "image", "table", "region", "navigation", "heading"):
        names = [name for of, name in found if of == role]
        assert names, role
        assert all(names), role
    browser.press("Tab", 9)
    assert browser.find("document.activeElement.textContent") == "Skip to the content"
    assert browser.find("document.activeElement.getBoundingClientRect().left") >= 0
    browser.press("Enter", 13, "\r")
    assert browser.find("document.activeElement.tagName") == "MAIN"
    levels = browser.find(
        "[...document.querySelectorAll('main h1, main h2, main h3, main h4')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_no_id_is_there_twice_and_every_reference_has_its_target(browser, page):
    browser.open(page)
    twice = browser.find(
        "(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id);"
        "return ids.filter((id, place) => ids.indexOf(id) !== place); })()"
    )
    assert twice == []
    lost = browser.find(
        "[...document.querySelectorAll('use, a')].map(e => e.getAttribute('href'))"
        ".filter(href => href.startsWith('#') && !document.getElementById(href.slice(1)))"
    )
    assert lost == []
    empty = browser.find(
        "[...document.querySelectorAll('.drawing svg')].filter(e => e.getBoundingClientRect().height < 100).length"
    )
    assert empty == 0


LABEL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> </pre></details> {{ 7*7 }} \\input{/etc/passwd} "
    "\x1b[31m \u202e \u05e9\u05dc\u05d5\u05dd \" ' ` $x$"
)
HOSTILE = f"{LABEL} \ud800\nlast line"


def test_hostile_text_is_shown_and_does_nothing(browser, make, tmp_path):
    records = [
        make.passkey(method=LABEL, length=length, index=index, right=True, prediction=HOSTILE, target=HOSTILE)
        for length in (512, 1024)
        for index in range(12)
    ]
    records += [make.failed(method="pi", length=512, index=0, message=HOSTILE)]
    records += [make.passkey(method="pi", length=1024, index=0, right=False, prediction="x<b>" * 250_000)]
    run = make.run(
        tmp_path / "run",
        records,
        methods=("none", "pi", LABEL),
        lengths=(512, 1024),
        tasks=make.header().tasks[:1],
        device=LABEL,
    )
    page = write_report([run], tmp_path / "out", formats=["html"])[0]
    assert page.stat().st_size < 1_000_000
    browser.open(page)
    assert browser.complaints == []
    assert browser.find("document.querySelectorAll('script').length") == 1
    assert browser.find("document.querySelectorAll('img, b').length") == 0
    shown = browser.find("document.body.textContent")
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in shown
    assert "{{ 7*7 }}" in shown
    assert "\\x1b[31m \\u202e \u05e9\u05dc\u05d5\u05dd" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert addresses(browser) == {page.as_uri()}


def test_a_script_that_slipped_in_would_not_run(browser, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    evil = (
        "<script>document.title = 'owned'</script><img src=\"data:,\" onerror=\"document.title = 'owned'\">"
    )
    broken.write_text(text.replace("</main>", f"{evil}</main>"), encoding="utf-8")
    browser.open(broken)
    assert browser.find("document.title") == "Robustness over context length"
    assert len(browser.complaints) >= 2  # the policy says what it stopped


def test_samples_in_pages_of_their_own_are_one_click_away(browser, realistic_run, tmp_path, monkeypatch):
    monkeypatch.setattr(html, "MOST_BYTES", 400_000)
    page = write_report([realistic_run], tmp_path / "out", formats=["html"])[0]
    assert page.stat().st_size < 400_000
    assert len(list((tmp_path / "out" / "details").iterdir())) == 48
    browser.open(page)
    browser.click(f"{FIRST_TABLE} tbody tr:nth-child(3) td:nth-child(5) a")
    browser.wait_for("Samples")
    assert browser.find("document.querySelectorAll('.sample').length") == 20
    browser.click("nav a")
    browser.wait_for("Robustness over context length")
    assert browser.find("location.pathname") == str(page)
    assert browser.complaints == []


def test_figures_that_do_not_fit_lie_beside_the_page(browser, realistic_run, tmp_path, monkeypatch):
    monkeypatch.setattr(html, "MOST_BYTES", 100_000)
    page = write_report([realistic_run], tmp_path / "out", formats=["html"])[0]
    assert page.stat().st_size < 100_000
    browser.open(page)
    sizes = browser.find("[...document.querySelectorAll('.drawing img')].map(each => each.naturalWidth)")
    assert len(sizes) >= 2
    assert min(sizes) > 100
    assert browser.complaints == []
