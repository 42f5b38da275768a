"""The report's page in a real headless Chromium: no errors, nothing fetched, all visible, no sideways scrolling."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlaws.report import write
from tests import report_fixture as fixture

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
PATIENCE = 90.0  # seconds for one answer of the browser


class Browser:
    """Chromium's debugging protocol over a pipe: messages of JSON that end in a zero byte; standard library only."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        pipes = f'exec "$@" 3<&{to_read} 4>&{to_write}'  # bash: dash knows one-digit descriptors only
        command = ["bash", "-c", pipes, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
        self._log = (profile.parent / f"{profile.name}.log").open("wb")
        self.process = subprocess.Popen(command, pass_fds=(to_read, to_write), stdout=self._log, stderr=self._log)
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._count = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        os.close(self._to)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        os.close(self._from)
        self._log.close()

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._count)
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(time.monotonic() + PATIENCE)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait(self, method: str) -> None:
        end = time.monotonic() + PATIENCE
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self._next(end))

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium did not answer within {PATIENCE:g} s"
            part = os.read(self._from, 1 << 20)
            assert part, "Chromium ended"
            self._buffer += part
        head, self._buffer = self._buffer.split(b"\0", 1)
        found: dict[str, Any] = json.loads(head)
        return found


class Page:
    """One tab at a window size; keeps what the page logged and asked for."""

    def __init__(self, browser: Browser, address: str, width: int, height: int = 900, languages: str = "en-GB") -> None:
        self.browser = browser
        browser.events.clear()
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage=languages)
        browser.events.clear()
        self.call("Page.navigate", url=address)
        browser.wait("Page.loadEventFired")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def ask(self, expression: str) -> Any:
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                text="\r" if key == "Enter" else "",
                windowsVirtualKeyCode={"Enter": 13, "Tab": 9}[key],
            )

    def troubles(self) -> list[Any]:
        self.ask("new Promise(done => setTimeout(done, 50))")
        bad = []
        for event in self.browser.events:
            name, params = event.get("method"), event.get("params", {})
            if name == "Runtime.exceptionThrown":
                bad.append(params["exceptionDetails"])
            if name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                bad.append(params)
            if name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                bad.append(params["entry"])
        return bad

    def requests(self) -> list[str]:
        return [
            e["params"]["request"]["url"] for e in self.browser.events if e.get("method") == "Network.requestWillBeSent"
        ]

    def shot(self, path: Path) -> None:
        """Write a picture of the whole page, for looking at."""
        size = self.ask("({width: innerWidth, height: document.documentElement.scrollHeight})")
        clip = {"x": 0, "y": 0, "scale": 1, **size}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        why = "no chromium here; install it with: apt-get update && apt-get install -y --no-install-recommends chromium"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    found = Browser(tmp_path_factory.mktemp("profile") / "user")
    yield found
    found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    folders = fixture.mixed(root)
    big = fixture.verdict(
        "credit.wide_grid", {"alpha": list(range(14)), "beta": list(range(3)), "L": [4, 8]}, np.linspace(0.7, 1.3, 84)
    )
    folders.append(fixture.write_run(root, *big))
    folders.append(fixture.hard(root))
    return write(folders, root / "report", formats=("html",), notes=[{"en": "A note.", "zh": "一条说明。"}])["html"]


def address(path: Path, rest: str = "") -> str:
    return path.as_uri() + rest


def test_no_errors_and_nothing_is_fetched(browser, report):
    page = Page(browser, address(report), 1280)
    asked = [u for u in page.requests() if not u.startswith("data:")]
    assert [u.split("#")[0] for u in asked] == [address(report)]
    assert page.troubles() == []
    assert page.ask("JSON.parse(document.getElementById('rlaws-data').textContent).runs.length") == 8


def test_the_collector_sees_errors_and_requests(browser, tmp_path):
    """Negative control: a page that throws and asks for a file is found out."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><img src='file:///nowhere.png'><script>throw new Error('x')</script><svg width=0></svg>"
    )
    page = Page(browser, address(bad), 1280)
    assert page.troubles()
    assert any("nowhere.png" in u for u in page.requests())


VISIBLE = """
(() => { for (const part of document.querySelectorAll("details")) part.open = true;
  return [...document.querySelectorAll("svg.plot, svg.formula, svg.swatch")].map(s => {
    const box = s.getBoundingClientRect(), drawn = s.getBBox();
    return [s.getAttribute("class"), box.width, box.height, drawn.width, drawn.height]; }); })()
"""


@pytest.mark.parametrize("width", [1280, 400])
def test_every_figure_is_visible(browser, report, width):
    page = Page(browser, address(report), width)
    found = page.ask(VISIBLE)
    text = report.read_text(encoding="utf-8")
    assert len(found) == text.count("<svg ")
    assert sum(c.startswith("plot") for c, *_ in found) > 25
    for name, *box in found:
        assert min(box[:2]) >= 5, (name, box)
        assert max(box[2:]) > 1, (name, box)
    plots = [b for c, *b in found if c == "plot"]
    assert min(b[0] for b in plots) >= 150
    assert min(b[1] for b in plots) >= 35


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 400])
def test_no_sideways_scrolling(browser, report, width, language):
    page = Page(browser, address(report, f"#lang={language}"), width)
    page.ask("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.ask("innerWidth") == width
    assert page.ask("document.documentElement.scrollWidth") <= width
    outside = page.ask("""[...document.querySelectorAll("main *, header *, footer *")].filter(e => {
        const box = e.getBoundingClientRect();
        return box.width > 1 && box.right > innerWidth + 1 && !e.closest(".scroll, pre, .hidden, svg");
      }).map(e => e.outerHTML.slice(0, 120))""")
    assert outside == []


CLASHES = """
(() => { for (const part of document.querySelectorAll("details")) part.open = true;
  const bad = [];
  for (const svg of document.querySelectorAll("svg.plot")) {
    const name = svg.getAttribute("aria-labelledby"), frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
    for (const [words, b] of boxes)
      if (b.left < frame.left - 2 || b.right > frame.right + 2 || b.top < frame.top - 2 || b.bottom > frame.bottom + 2)
        bad.push([name, "outside", words]);
    boxes.forEach(([words, a], i) => { for (const [others, b] of boxes.slice(0, i)) {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const tall = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1.5 && tall > 3.5) bad.push([name, words, others, wide, tall]);
    } });
  }
  return bad; })()
"""


def test_labels_stay_inside_their_figure_and_apart(browser, report):
    """No label leaves its figure, and no two labels of one figure overlap by more than a hair."""
    page = Page(browser, address(report), 1280)
    assert page.ask(CLASHES) == []
    page.ask("""(() => { const text = document.querySelector("svg.plot text");
        text.after(text.cloneNode(true)); })()""")
    assert len(page.ask(CLASHES)) == 1, "negative control: a label drawn twice must be found"


SHOWN = "[...document.querySelectorAll('main .{}')].filter(e => e.getClientRects().length).length"


def test_the_language_switch(browser, report):
    page = Page(browser, address(report), 1280)
    assert page.ask("document.documentElement.lang") == "en"
    assert page.ask(SHOWN.format("en")) > 50
    assert page.ask(SHOWN.format("zh")) == 0
    page.ask("document.getElementById('language').focus()")
    page.press("Enter")
    assert page.ask("location.hash") == "#lang=zh"
    assert page.ask("document.documentElement.lang") == "zh-Hans"
    assert "结论" in page.ask("document.title")
    assert page.ask(SHOWN.format("en")) == 0
    assert page.ask(SHOWN.format("zh")) > 50
    page.ask("document.querySelector('.matrix td a').click()")
    assert page.ask("location.hash").endswith(";lang=zh")
    assert page.ask("document.activeElement.id") == page.ask("location.hash.slice(1).split(';')[0]")
    page.ask("document.getElementById('language').click()")
    assert page.ask("document.documentElement.dataset.lang") == "en"
    assert page.troubles() == []


def test_the_language_follows_address_then_browser(browser, report):
    assert (
        Page(browser, address(report, "#verdicts;lang=zh"), 1280).ask("document.documentElement.dataset.lang") == "zh"
    )
    assert Page(browser, address(report), 1280, languages="zh-CN").ask("document.documentElement.dataset.lang") == "zh"
    both = Page(browser, address(report, "#lang=en"), 1280, languages="zh-CN")
    assert both.ask("document.documentElement.dataset.lang") == "en"


def test_links_lead_somewhere_and_names_are_unique(browser, report):
    page = Page(browser, address(report), 1280)
    dead = page.ask(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href'))"
        ".filter(h => !document.querySelector(h))"
    )
    assert dead == []
    twice = page.ask(
        "(() => { const n = [...document.querySelectorAll('[id]')].map(e => e.id);"
        " return n.filter((v, i) => n.indexOf(v) !== i); })()"
    )
    assert twice == []
    unnamed = page.ask("""[...document.querySelectorAll("svg[role=img]")].filter(s => !(s.getAttribute("aria-label") ||
        (document.getElementById(s.getAttribute("aria-labelledby")) || {}).textContent)).length""")
    assert unnamed == 0


def test_awkward_names_are_shown_as_text(browser, report):
    page = Page(browser, address(report), 1280)
    assert page.ask("document.querySelectorAll('script').length") == 2
    assert page.ask("document.body.textContent.includes('<script>alert(1)</script>')")
    assert page.ask("[...document.querySelectorAll('h3')].some(h => h.textContent.includes('<b>Bold</b>'))")


def test_copy_button_and_print(browser, report):
    page = Page(browser, address(report), 1280)
    page.ask("document.querySelector('button.copy').click()")
    said = page.ask("new Promise(done => setTimeout(() => done(document.getElementById('said').textContent), 300))")
    assert said in ("copied", "")
    printed = page.call("Page.printToPDF", printBackground=True)["data"]
    assert base64.b64decode(printed).startswith(b"%PDF")
    assert page.troubles() == []
