"""The section "Your runs" in a headless Chromium: no errors, nothing fetched, no overlap, no sideways scrolling."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rlaws.fits.asking import Asked
from rlaws.fits.making import Claims, Silent, make
from rlaws.logs.recipes import Facts, Logs
from rlaws.report import write
from tests.browser.test_report import CLASHES, VISIBLE, Page, address, browser
from tests.report_fixture import verdict, write_run

__all__ = ["browser"]  # the fixture

pytestmark = pytest.mark.browser


def log(path, seed, name="acc", bent=False):
    """A verl file log of a rising accuracy; with ``bent`` it falls again from the middle on."""
    rng = np.random.default_rng(seed)
    lines = []
    for s in range(0, 41):
        p = 0.1 + 0.6 * (1 - np.exp(-s / 9)) - (0.02 * max(s - 20, 0) if bent else 0.0)
        data = {f"val-core/math/{name}/mean@1": float(np.clip(p + rng.normal(0, 0.01), 0, 1)), "my/odd": 1.0}
        lines.append(json.dumps({"step": s, "data": data}) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Several sizes, a bent run, a run named by markup, target and advice; beside it an ordinary verdict."""
    root = tmp_path_factory.mktemp("fit")
    names = [f"a-{size}b-with-a-rather-long-name-of-its-own.jsonl" for size in (0.5, 3, 14)]
    paths = [log(root / name, i) for i, name in enumerate(names)]
    paths += [log(root / "bent.jsonl", 7, bent=True), log(root / "<script>alert(1)<.jsonl", 8)]
    sizes = {"*0.5b*": 0.5, "*3b*": 3, "*14b*": 14}
    asked = Asked(
        Logs(tuple(paths)), Facts(sizes), target=0.75, cost=1e-3, value=1.0, draws=200, scores=(0.5,), claims=(),
        links=("absolute", "logit"), size=32.0,
    )  # fmt: skip
    none = Claims((), lambda _: {}, {}, lambda _: None, lambda v: v)
    fit = make(asked, none, root / "fits", "rlaws fit 'logs=*.jsonl'", Silent()).folder
    run = write_run(root / "runs", *verdict("search.fail_1_over_n", {}, np.array([0.98])))
    return write([run], root / "report", formats=("html",), fits=[fit])["html"]


def test_no_errors_and_nothing_is_fetched(browser, report):
    page = Page(browser, address(report), 1280)
    assert [u.split("#")[0] for u in page.requests() if not u.startswith("data:")] == [address(report)]
    assert page.troubles() == []
    assert page.ask("document.querySelectorAll('.forecast svg.plot').length") == 5
    assert page.ask("document.querySelectorAll('script').length") == 2


def test_labels_stay_inside_their_figure_and_apart(browser, report):
    page = Page(browser, address(report), 1280)
    assert page.ask(CLASHES) == []
    for name, *box in page.ask(VISIBLE):
        assert min(box[:2]) >= 5, (name, box)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 400])
def test_no_sideways_scrolling(browser, report, width, language):
    page = Page(browser, address(report, f"#lang={language}"), width)
    page.ask("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.ask("document.documentElement.scrollWidth") <= width
    outside = page.ask("""[...document.querySelectorAll(".own *")].filter(e => {
        const box = e.getBoundingClientRect();
        return box.width > 1 && box.right > innerWidth + 1 && !e.closest(".scroll, pre, .hidden, svg");
      }).map(e => e.outerHTML.slice(0, 120))""")
    assert outside == []


def test_what_a_forecast_says_is_on_the_page(browser, report):
    page = Page(browser, address(report), 1280)
    page.ask("for (const part of document.querySelectorAll('details')) part.open = true")
    text = page.ask("document.querySelector('.own').innerText")
    for words in ("turns back", "Target:", "Stop or go on:", "naive: last value", "How the curves go with size",
                  "<script>alert(1)<", "my/odd", "one run", "Under other links"):  # fmt: skip
        assert words in text, words
    dashed = page.ask("[...document.querySelectorAll('.own .signs li')].map(e => e.textContent)")
    assert any("beyond the data" in t for t in dashed)


def test_links_lead_somewhere_and_names_are_unique(browser, report):
    page = Page(browser, address(report), 1280)
    twice = page.ask(
        "(() => { const n = [...document.querySelectorAll('[id]')].map(e => e.id);"
        " return n.filter((v, i) => n.indexOf(v) !== i); })()"
    )
    assert twice == []
    unnamed = page.ask("""[...document.querySelectorAll("svg[role=img]")].filter(s => !(s.getAttribute("aria-label") ||
        (document.getElementById(s.getAttribute("aria-labelledby")) || {}).textContent)).length""")
    assert unnamed == 0
