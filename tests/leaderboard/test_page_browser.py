"""The page in a real browser: sorting, filtering, light and dark, a phone.

Chromium is driven over its debugging pipe, so that no other package is needed.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

import pytest

from kdbench.leaderboard.page import Sources, write_page
from kdbench.leaderboard.rows import leaderboard

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 120  # seconds to wait for an answer: a busy machine is slow
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


class Browser:
    """One tab, by the DevTools protocol: JSON messages with a zero byte after each."""

    def __init__(self, folder):
        to_browser, self.send = os.pipe()
        self.receive, from_browser = os.pipe()
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_browser, from_browser)]
        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder}"],
            # The browser reads from descriptor 3 and writes to descriptor 4.
            preexec_fn=lambda: (os.dup2(ends[0], 3), os.dup2(ends[1], 4)),
            pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in (to_browser, from_browser, *ends):
            os.close(fd)
        self.left, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """What the browser answers to a command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _message(self) -> dict:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self.left:
            ready, _, _ = select.select([self.receive], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            received = os.read(self.receive, 1 << 20)
            assert received, "the browser has ended"
            self.left += received
        message, _, self.left = self.left.partition(b"\0")
        return json.loads(message)

    def open(self, address: str) -> None:
        """Goes to a page and waits until its script has run."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        ready = "location.href !== 'about:blank' && document.readyState === 'complete'"
        while not self.ask(ready):
            time.sleep(0.05)

    def ask(self, script: str):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Presses the mouse in the middle of an element."""
        x, y = self.ask(
            f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "center"}}); const b = e.getBoundingClientRect();
            return [b.x + b.width / 2, b.y + b.height / 2]; }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Presses Enter or Tab."""
        code, text = {"Enter": (13, "\r"), "Tab": (9, "")}[key]
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key,
                  windowsVirtualKeyCode=code, text=text)  # fmt: skip
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def screen(self, width: int, height: int, scheme: str) -> None:
        """Sets the size of the screen, and light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def photograph(self, path) -> None:
        """Writes what the screen shows as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """Ends the browser."""
        self.session = None
        self.call("Browser.close")
        self.process.wait(PATIENCE)
        os.close(self.send)
        os.close(self.receive)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def address(browser, records, student, record, tmp_path):
    """The page of two tables, the second at ratio 16."""
    small = [record(student(m, ratio=16.0), bev) for m, bev in (("none", 20.0), ("best", 24.0))]
    rows = leaderboard([*records, *small])
    browser.screen(1280, 900, "light")
    return f"file://{write_page(rows, Sources(), tmp_path)}"


LABELS = """[...[...document.querySelectorAll("section.results:not(.gone) table")][TABLE]
    .tBodies[0].rows].filter((row) => row.checkVisibility()).map((row) => row.dataset.label)"""


def labels(browser, table: int = 0) -> list[str]:
    """The rows that can be seen of a table, from top to bottom."""
    return browser.ask(LABELS.replace("TABLE", str(table)))


def test_a_click_on_a_header_sorts(browser, address):
    browser.open(address)
    assert labels(browser) == ["teacher", "none", "best", "good", "level", "bad"]
    header = "th:nth-child(4)"  # the gain: what has none comes last, whichever way round
    order = f"document.querySelector('{header}').getAttribute('aria-sort')"
    browser.click(f"{header} button")
    assert browser.ask(order) == "descending"
    assert labels(browser) == ["best", "good", "level", "none", "bad", "teacher"]
    browser.click(f"{header} button")
    assert browser.ask(order) == "ascending"
    assert labels(browser) == ["bad", "none", "level", "good", "best", "teacher"]
    browser.click("th:first-child button")
    assert labels(browser) == ["bad", "best", "good", "level", "none", "teacher"]
    assert (
        browser.ask("document.querySelectorAll('table')[0].querySelectorAll('[aria-sort]').length")
        == 1
    )


def test_the_keyboard_sorts_too(browser, address):
    browser.open(address)
    browser.ask("document.querySelector('th:nth-child(3) button').focus()")
    browser.press("Enter")
    assert labels(browser)[0] == "teacher" and labels(browser)[-1] == "bad"
    browser.press("Tab")
    assert browser.ask("document.activeElement.textContent") == "gain"


def test_typing_filters_every_table_and_plot(browser, address):
    browser.open(address)
    browser.click("input[name=q]")
    browser.call("Input.insertText", text="BES")
    assert labels(browser) == labels(browser, 1) == labels(browser, 3) == ["best"]
    assert browser.ask("document.querySelector('output').value") == "2 rows"
    # In each plot the method, and `none` of the other table.
    seen = "[...document.querySelectorAll('WHAT')].filter((m) => m.checkVisibility()).length"
    assert browser.ask(seen.replace("WHAT", ".mark")) == 2 * browser.ask(
        seen.replace("WHAT", "figure")
    )
    assert browser.ask("location.hash") == "#q=BES"


def test_choices_hide_tables_and_noise(browser, address):
    browser.open(address)
    browser.click("input[name=noise]")
    assert labels(browser) == ["teacher", "none", "best", "good", "bad"]
    browser.ask("""(() => { const field = document.querySelector("select[name=ratio]");
        field.value = "16"; field.dispatchEvent(new Event("input", {bubbles: true})); })()""")
    assert labels(browser) == ["teacher", "none", "best"]
    assert browser.ask("document.querySelectorAll('section.results:not(.gone)').length") == 1


def test_a_view_can_be_passed_on(browser, address):
    browser.open(f"{address}#q=b&ratio=16&noise=on&metric=3d&detector=absent&odd=1")
    assert labels(browser) == ["best"]
    assert browser.ask("document.documentElement.dataset.metric") == "3d"
    plots = "[...document.querySelectorAll('.of-bev')].some((plot) => plot.checkVisibility())"
    assert browser.ask(plots) is False


def test_nothing_is_fetched_and_nothing_fails(browser, address):
    browser.events.clear()
    browser.open(address)
    sent = [e["params"]["request"]["url"] for e in browser.events
            if e.get("method") == "Network.requestWillBeSent"]  # fmt: skip
    assert address in sent
    assert all(url in (address, "about:blank") or url.startswith("data:") for url in sent)
    assert not [e for e in browser.events if e.get("method") == "Runtime.exceptionThrown"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desk", 1280, 900), ("phone", 375, 720)])
def test_screens(browser, address, tmp_path, name, width, height, scheme):
    browser.screen(width, height, scheme)
    browser.open(address)
    browser.photograph(tmp_path / f"{name}-{scheme}.png")
    page_width = "document.documentElement.scrollWidth"
    assert browser.ask(page_width) <= width  # wide tables scroll by themselves
    ground = "getComputedStyle(document.body).backgroundColor"
    red = int(browser.ask(ground).removeprefix("rgb(").split(",")[0])
    assert red > 200 if scheme == "light" else red < 60
    # The name of a method stays in view when its table is scrolled.
    browser.ask("document.querySelector('.scroll').scrollLeft = 200")
    left = "document.querySelector('tbody th').getBoundingClientRect().left"
    assert 0 <= browser.ask(left) < 40
