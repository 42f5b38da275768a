"""The report reads what runs stored and writes the same bytes for it; everything from data is shown as text."""

import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import escape

from rlaws.errors import InputError
from rlaws.report import figures, load, tables, write
from rlaws.report.drawing import by_group, fitted_range, group_texts
from rlaws.report.scales import apart, limits, log_ticks, tick_text
from rlaws.report.style import formula, symbol
from rlaws.report.ui import UI
from rlaws.report.words import MARKS, deciding_margin, interval, margin, number
from tests import report_fixture as fixture

ALL = ("html", "json", "latex", "markdown", "markdown-zh")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return fixture.mixed(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def written(folders, tmp_path_factory):
    found = write(
        folders, tmp_path_factory.mktemp("report"), formats=ALL, notes=[{"en": "A note.", "zh": "一条说明。"}]
    )
    return {kind: path.read_text(encoding="utf-8") for kind, path in found.items()}


class Reader(HTMLParser):
    """Collects elements, and whether they close in order."""

    VOID = frozenset(("meta", "link", "br", "img", "input", "hr"))

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.bad = [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append((tag, self.getpos()))


def read(html):
    found = Reader()
    found.feed(html)
    return found


# ------------------------------------------------------------------------------------------------ all formats
def test_same_input_same_bytes(folders, written, tmp_path):
    """The order in which folders are given, the clock and the folder of the report change nothing."""
    time.sleep(1.1)
    again = write(
        folders[::-1] + folders[:1],
        tmp_path / "deep" / "er",
        formats=ALL,
        notes=[{"en": "A note.", "zh": "一条说明。"}],
    )
    for kind, path in again.items():
        assert path.read_text(encoding="utf-8") == written[kind], kind


def test_the_same_in_another_process(folders, written, tmp_path):
    """Neither the hash seed nor the user's matplotlib settings reach the page."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nlines.linewidth: 9\nsvg.fonttype: path\n")
    code = (
        "import sys, json; from rlaws.report import write; "
        "write(json.loads(sys.argv[1]), sys.argv[2], formats=('html',), notes=[{'en': 'A note.', 'zh': '一条说明。'}])"
    )
    for seed in ("1", "2"):
        out = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", code, json.dumps([str(f) for f in folders]), str(out)],
            check=True,
            env={"PYTHONHASHSEED": seed, "MATPLOTLIBRC": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        assert (out / "index.html").read_text(encoding="utf-8") == written["html"]


def test_a_changed_verdict_changes_the_report(folders, written, tmp_path):
    """Negative control of the two tests above."""
    found, panels = fixture.verdict("search.fail_1_over_n", {}, np.array([0.98]), "toy", "search/fail_1_over_n_toy")
    other = fixture.write_run(tmp_path / "runs", found, panels)
    again = write(
        [*(f for f in folders if "_toy" not in f.as_posix() or "moe" in f.as_posix()), other], tmp_path / "out"
    )
    assert again["html"].read_text(encoding="utf-8") != written["html"]
    assert again["json"].read_text(encoding="utf-8") != written["json"]


def test_write_leaves_nothing_else_behind(folders, tmp_path):
    found = write(folders[:1], tmp_path / "out")
    assert set(found) == {"html", "json", "latex", "markdown"}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "index.html",
        "verdicts.json",
        "verdicts.md",
        "verdicts.tex",
    ]
    assert found["html"].stat().st_mode & 0o444 == 0o444


def test_unknown_format_and_no_folder_are_errors_that_help(folders, tmp_path):
    with pytest.raises(InputError, match="Did you mean 'latex'"):
        write(folders, tmp_path / "out", formats=("latx",))
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="at least one run folder"):
        load([])
    with pytest.raises(InputError, match="is not a run folder"):
        load([tmp_path])


def test_json_holds_the_verdicts(folders, written):
    body = json.loads(written["json"])
    assert [r["claim"] for r in body["runs"]] == sorted(r["claim"] for r in body["runs"])
    by_study = {r["study"]: r for r in body["runs"]}
    stored = json.loads((folders[0] / "verdict.json").read_text(encoding="utf-8"))
    assert by_study["search/fail_1_over_n"]["verdict"] == stored
    assert by_study["capacity/size_logs"]["status"] == "no data"
    assert "RLAWS_DATA" in by_study["capacity/size_logs"]["sentence"]["en"]
    assert by_study["critic/moe_toy"]["outcome"] == "failed"
    assert str(folders[0].parents[2]) not in written["json"] + written["html"], "no path of this machine"


# ------------------------------------------------------------------------------------------------ the page
def test_page_is_well_formed_and_alone(written):
    found = read(written["html"])
    assert found.bad == []
    assert found.open == []
    loads = [
        (t, k, v)
        for t, a in found.elements
        for k, v in a.items()
        if k in ("src", "href", "xlink:href", "action", "data")
    ]
    assert loads
    assert [x for x in loads if not x[2].startswith(("#", "data:,"))] == []
    assert "@import" not in written["html"]
    assert re.findall(r"url\((?!#)", written["html"]) == []
    assert re.findall(r"https?://", written["html"]) == []


def test_page_has_a_place_for_every_reference(written):
    elements = read(written["html"]).elements
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = {
        a[k].lstrip("#")
        for _, a in elements
        for k in ("href", "aria-labelledby")
        if a.get(k, "").lstrip("#") and k in a
    }
    wanted |= set(re.findall(r"url\(#([^)]+)\)", written["html"]))
    assert {w for w in wanted if not w.startswith("data:")} <= set(ids)


def test_every_figure_has_a_name_and_every_table_heads(written):
    elements = read(written["html"]).elements
    plots = [a for t, a in elements if t == "svg" and a.get("class") == "plot"]
    assert len(plots) >= 6 + 6 + 1 + 4 + 2
    assert all(a.get("role") == "img" and a.get("aria-labelledby") for a in plots)
    heads = [a for t, a in elements if t == "th"]
    assert heads
    assert all(a.get("scope") in ("row", "col") for a in heads)


def test_both_languages_stand_everywhere(written):
    html = written["html"]
    for key in ("tagline", "matrix", "limits", "figure", "map", "reproduce"):
        for language in ("en", "zh"):
            assert escape(UI[key][language].split("{")[0]) in html, (key, language)
    assert html.count('<span class="en" lang="en">') == html.count('<span class="zh" lang="zh">')
    assert "使用 best-of-N 时失败概率按 1/N 下降" in html
    assert "一条说明。" in html
    for mark in MARKS.values():
        assert mark.word["zh"] in html


def test_all_words_have_both_languages():
    for key, text in UI.items():
        assert text["en"]
        assert text["zh"]
        assert text["en"] != text["zh"], key
        assert re.findall(r"{\w+}", text["en"]).sort() == re.findall(r"{\w+}", text["zh"]).sort()
        assert set(re.findall(r"{\w+}", text["en"])) == set(re.findall(r"{\w+}", text["zh"])), key


def test_what_comes_from_data_is_text(written):
    html = written["html"]
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>Bold" not in html
    assert [t for t, _ in read(html).elements].count("script") == 2
    block = re.search(r'<script type="application/json" id="rlaws-data">(.*?)</script>', html, flags=re.S)[1]
    assert "<" not in block
    data = json.loads(block)
    assert data["embedded"] == "verdicts and panels"
    models = [p["regime"]["model"] for p in data["panels"]["capacity/selection/quick-3fa9c1d2e4b5a697"]]
    assert models == ["<script>alert(1)</script>", "a_b & 100% $x$"]


def test_matrix_says_what_is_missing(written):
    html = written["html"]
    assert "no data" in html
    assert "4 of 4 cells failed" in html
    assert "4 个单元中有 4 个失败" in html
    assert html.count('<td class="empty">') == 5 * 4 - 6


@pytest.mark.parametrize("claims", [1, 20])
def test_one_claim_and_twenty(claims, tmp_path):
    folders = [
        fixture.write_run(
            tmp_path / "runs",
            *fixture.verdict(f"topic.claim_{i}", {"alpha": [1, 2], "beta": [1, 2]}, np.linspace(0.8, 1.2, 4) + i / 50),
        )
        for i in range(claims)
    ]
    start = time.perf_counter()
    path = write(folders, tmp_path / "out")["html"]
    seconds = time.perf_counter() - start
    elements = read(path.read_text(encoding="utf-8")).elements
    assert sum(t == "article" for t, _ in elements) == claims
    assert path.stat().st_size < 8e6 * max(claims, 5) / 30
    assert seconds < 3 + 3 * claims


def test_a_page_of_sixty_runs_stays_small(tmp_path, monkeypatch):
    """Tiles and rows are divided among the runs; figures are counted here, not drawn, to keep the test short."""
    from rlaws.report import page

    drawn = []
    monkeypatch.setattr(page.Studio, "svg", lambda self, figure, label: drawn.append(label) or label)
    grid = {"alpha": list(range(8)), "beta": list(range(8))}
    found, panels = fixture.verdict("topic.claim", grid, np.linspace(0.8, 1.2, 64))
    run = load([fixture.write_run(tmp_path, found, panels)]).runs[0]
    monkeypatch.setattr(page.figures, "tile", lambda *a, **k: None)
    monkeypatch.setattr(page.maps, "regime_map", lambda *a, **k: None)
    monkeypatch.setattr(page.maps, "forest", lambda *a, **k: None)
    report = page.Report(
        tuple(page.Run(f"{run.folder}-{i}", run.manifest, run.verdict, run.panels, run.status, None) for i in range(60))
    )
    html = page.page(report)
    assert sum(bool(re.search(r"-t\d+$", label)) for label in drawn) <= page.MOST_TILES
    assert html.count("<tr>") < page.ALL_ROWS + 500
    assert len(html) < 6e6
    assert '"embedded":"verdicts' in html


# ------------------------------------------------------------------------------------------------ gaps in the data
def test_nulls_and_absent_parts_are_drawn_around(tmp_path):
    found, panels = fixture.verdict("topic.gaps", {"alpha": [1, 2, 3, 4]}, np.array([0.5, 1.0, 1.0, 1.0]))
    stored = found.to_json()
    stored["readings"][0]["points"][0]["checks"][0].update(
        estimate=None, interval=None, region=[None, 0.1], margin=None, power=None
    )
    stored["readings"][1].update(text=None, reason={"zh": "只有中文。"}, margin=None, decides=False)
    stored["readings"][0]["points"][1]["checks"] = []
    panels[0]["points"].update(y=[None] * 8, low=[None] * 8, high=[None] * 8)
    panels[1].update(raw=None, held=None, curves=[], params=[], scores=[], ok=False, status="Too few points.")
    panels[2]["points"]["y"][3] = 0.0
    panels[2]["points"]["low"][3] = -0.1
    panels[3].update(points={"x": [], "y": []}, curves=[], raw={"x": [], "y": []}, held={})
    folder = fixture.write_run(tmp_path, found, panels)
    (folder / "verdict.json").write_text(json.dumps(stored), encoding="utf-8")
    html = write([folder], tmp_path / "out", formats=ALL)["html"].read_text(encoding="utf-8")
    assert "(−∞, 0.1]" in html
    assert "只有中文。" in html
    assert "Too few points." in html
    assert "0 or less (log axis)" in html
    assert "beside the verdict" in html
    assert "None" not in re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert "nan" not in re.sub(r"<script.*?</script>|style.*?</style>|nance", "", html, flags=re.S).lower()


def test_a_broken_file_is_named_and_the_rest_is_shown(folders, tmp_path):
    bad = fixture.write_failed(tmp_path, "topic/broken", "topic.broken", "sim")
    (bad / "verdict.json").write_text('{"claim": "topic.bro', encoding="utf-8")
    html = write([folders[1], bad], tmp_path / "out")["html"].read_text(encoding="utf-8")
    assert "Not readable: verdict.json" in html
    assert "search.fail_1_over_n" in html


def test_an_unfinished_run_says_how_far_it_is(tmp_path):
    folder = fixture.write_failed(tmp_path, "topic/half", "topic.half", cells={"total": 9, "done": 4, "failed": 0})
    run = load([folder]).runs[0]
    assert run.status == "unfinished"
    assert "4 of 9" in run.sentence["en"]


def test_a_run_without_its_claims_name_still_has_a_row(tmp_path):
    folder = tmp_path / "topic" / "bare" / "quick-1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"status": "missing data", "error": "File gone."}')
    run = load([folder]).runs[0]
    assert (run.claim, run.study, run.outcome) == ("topic.bare", "topic/bare", "no data")
    assert "topic.bare" in write([folder], tmp_path / "out")["html"].read_text()


# ------------------------------------------------------------------------------------------------ tables
def test_latex_escapes_what_latex_would_read():
    hostile = r"50% of $x_1$ & {y}#2 \input{z} ~^ α≥2×10⁻³ “q”"
    shown = tables.escape(hostile)
    assert shown == (
        r"50\% of \$x\_1\$ \& \{y\}\#2 \textbackslash{}input\{z\} \textasciitilde{}\textasciicircum{} "
        r"$\alpha$$\geq$2$\times$10$^{-}$$^{3}$ ``q''"
    )
    bare = re.sub(r"\\[a-zA-Z]+(\{\})?|\\.", "", shown)
    assert bare.count("{") == bare.count("}")
    assert not set("%&#_~") & set(bare)


def test_latex_table_has_five_columns_in_every_row(written):
    lines = written["latex"].splitlines()
    assert lines[0].startswith("%")
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 1 + 4 * 2 + 2
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == 4, row
    assert written["latex"].count(r"\begin") == written["latex"].count(r"\end{") == 1
    assert "RLAWS\\_DATA" in written["latex"]


def test_markdown_is_one_table(written):
    lines = written["markdown"].strip().splitlines()
    assert len(lines) == 2 + 5
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "exponent: ◐ conditional (−0.4)" in written["markdown"]
    assert "∅ no data" in written["markdown"]
    assert "有条件" in written["markdown-zh"]
    assert tables.plain_markdown("a|b <i> *c*\nd_e") == r"a\|b &lt;i&gt; \*c\* d\_e"


# ------------------------------------------------------------------------------------------------ words
def test_numbers_read_well():
    assert [number(v) for v in (None, 0.1234567, -2.0, 1234567, 1e-7, 3, float("nan"), True)] == [
        "–", "0.123", "−2", "1.23e6", "1e-7".replace("-", "−"), "3", "–", "True",
    ]  # fmt: skip
    assert [margin(v) for v in (None, 2.25, -0.44, 1e9, -1e9)] == ["–", "+2.2", "−0.4", ">+99", "<−99"]
    assert interval([None, 2]) == "(−∞, 2]"
    assert interval([0.5, None]) == "[0.5, ∞)"
    assert interval(None) == interval([None, None]) == "–"


def test_the_deciding_margin_belongs_to_the_deciding_check():
    checks = [
        {"outcome": "supported", "margin": 0.2},
        {"outcome": "refuted", "margin": -8.0},
        {"outcome": "refuted", "margin": None},
    ]
    assert deciding_margin({"outcome": "refuted", "checks": checks}) == -8.0
    assert deciding_margin({"outcome": "supported", "checks": checks}) == 0.2
    assert deciding_margin({"outcome": "invalid", "checks": []}) is None


# ------------------------------------------------------------------------------------------------ figures
def test_log_ticks_are_few_and_round():
    assert log_ticks(1, 1000) == [1, 10, 100, 1000]
    assert log_ticks(0.9, 3.2) == pytest.approx([0.9, 1, 2, 3])
    for low, high in [(1e-12, 1e9), (0.97, 1.04), (2, 900), (3e-3, 5e-3), (1, 2)]:
        ticks = log_ticks(low, high, 6)
        assert 2 <= len(ticks) <= 6, (low, high, ticks)
        assert all(low <= t <= high for t in ticks)
    assert tick_text(1e-5) == "$10^{-5}$"
    assert tick_text(20000) == r"$2{\times}10^{4}$"
    assert tick_text(0.05) == "0.05"


def test_a_wild_interval_does_not_flatten_the_data():
    low, high = limits([1.0, 2.0], [1.0, 2.0, 1e9], log=False)
    assert low < 1.0
    assert 2.0 < high < 3.0
    low, high = limits([1.0, 100.0], [1e-300], log=True)
    assert 0.01 < low < 1.0
    assert 100.0 < high < 300.0


def test_labels_are_moved_apart():
    placed = apart([0.5, 0.5, 0.51, 0.99, 1.0], 0.1, 0.0, 1.0)
    assert min(np.diff(np.sort(placed))) >= 0.1 - 1e-12
    assert max(placed) <= 1.0
    assert apart([], 0.1, 0, 1) == []


def test_group_labels_name_what_differs():
    assert group_texts(["N = 1, s = 0.25", "N = 10, s = 0.5"]) == (
        "N",
        {"N = 1, s = 0.25": "1", "N = 10, s = 0.5": "10"},
    )
    assert group_texts(["N = 1, s = 2", "N = 1, s = 3"])[1]["N = 1, s = 3"] == "1, 3"
    assert group_texts(["beam", "best-of-N"]) == ("", {"beam": "beam", "best-of-N": "best-of-N"})


def test_long_group_labels_stay_different():
    names = [f"method = a rather long name {i}" for i in range(12)]
    title, labels = group_texts(names)
    assert title == "method"
    assert len(set(labels.values())) == 12
    assert max(map(len, labels.values())) <= 13
    assert group_texts(["a long name of one", "b"])[1] == {"a long name of one": "a long name …", "b": "b"}


def test_the_unit_survives_a_long_response():
    panel = fixture.panel("g", {}, 0.5, np.random.default_rng(0))
    panel.update(
        response="a quantity whose name is much too long for the height of its axis, whatever the wrapping",
        unit="steps",
    )
    figure = figures.tile(panel)
    label = next(t for t in figure.texts if t.get_rotation() == 90)
    assert label.get_text().endswith("… [steps]")
    assert label.get_text().count("\n") == 1


def test_symbols_and_formulas():
    assert symbol(r"\kappa") == "κ"
    assert symbol("N_0") == "N₀"
    assert symbol(r"K_\max") == "K_max"
    assert symbol(r"\frac{a}{b}") == r"$\frac{a}{b}$"
    assert formula(r"\nosuchcommand{x}") == r"\nosuchcommand{x}"
    assert formula("") == ""


@pytest.fixture(scope="module")
def bent(folders):
    verdict = json.loads((folders[0] / "verdict.json").read_text(encoding="utf-8"))
    return verdict, json.loads((folders[0] / "panels.json").read_text(encoding="utf-8"))["panels"]


def test_chosen_panels_show_every_outcome(bent):
    verdict, panels = bent
    chosen = figures.choose(verdict, panels)
    assert len(chosen) == 6
    assert [panels.index(p) for p in chosen] == sorted(panels.index(p) for p in chosen)
    seen = {o for p in chosen for r, o, _ in figures.outcomes(verdict, p["key"]) if r == "exponent"}
    assert seen == {"supported", "refuted", "undecided"}
    assert figures.choose(verdict, panels[:4]) == panels[:4]


def test_a_figure_is_quick_and_shows_all_its_parts(bent):
    verdict, panels = bent
    figures.claim_figure(verdict, panels)
    start = time.perf_counter()
    svg = figures.inline(figures.claim_figure(verdict, panels), "x")
    assert time.perf_counter() - start < 2.0, "0.4 s measured; a busy machine gets five times that"
    for words in (
        "failure [1]",
        "k [samples]",
        "✗ exponent: refuted",
        "held out, predicted",
        "fitted range",
        "run 3fa9c1d2e4b5",
    ):
        assert words in svg, words
    assert len(svg) < 200_000
    signs = [t.get_text() for t in figures.claim_figure(verdict, panels).legends[0].get_texts()]
    assert r"law: power   $y = a\,k^{-b}$" in signs
    assert r"rival: exponential   $y = a\,e^{-k/\tau}$" in signs
    axes = figures.panel_figure(panels[0], verdict).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    assert [len(line.get_xdata()) for line in stars] == [3]
    dashed = [line for line in axes.lines if line.is_dashed()]
    assert len(dashed) == 3, "the law beyond its range and two rivals"
    assert len({line.get_color() for line in dashed}) == 3


def test_nothing_is_shaded_where_all_was_fitted(bent):
    panel = json.loads(json.dumps(bent[1][0]))
    assert fitted_range(panel) == (1.0, 128.0)
    panel["held"] = None
    for curve in panel["curves"]:
        curve["fitted_to"] = 1e9
    assert fitted_range(panel) == (None, None)


def test_raw_rows_of_several_curves_are_not_joined():
    """A cluster's row holds the points of all curves; each curve is a line of its own."""
    panel = fixture.panel("g", {}, 0.5, np.random.default_rng(0), groups=["N = 1", "N = 2"])
    x = panel["points"]["x"]
    panel["raw"] = {"x": x, "y": [[0.1] * len(x)] * 3}
    panel["points"]["group"] = ["N = 1"] * 8 + ["N = 2"] * 8
    axes = figures.panel_figure(panel).axes[0]
    lines = axes.collections[0].get_segments() if len(axes.collections[0].get_paths()) == 6 else None
    found = [c for c in axes.collections if type(c).__name__ == "LineCollection"]
    assert [len(c.get_segments()) for c in found] == [6], lines
    assert all(np.all(np.diff(s[:, 0]) > 0) for s in found[0].get_segments())
    assert [name for name, _ in by_group(panel["points"])] == ["N = 1", "N = 2"]


def test_map_draws_the_boundary_and_forest_the_region(bent):
    verdict, _ = bent
    drawn = figures.regime_map(verdict["readings"][0], {"alpha": "1"})
    axes = drawn.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("alpha [1]", "beta [1]")
    edges = [tuple(line.get_xdata()) for line in axes.lines]
    assert edges == [(1.5, 1.5)] * 2, "between alpha 0.6 and 1, at the two beta where both sides are decided"
    assert "Supported for alpha" in " ".join(t.get_text() for t in drawn.texts)
    with pytest.raises(InputError, match="one regime point"):
        figures.regime_map({"id": "x", "points": [{"regime": {}, "outcome": "supported", "checks": []}]})
    rows = figures.forest(verdict).axes[0]
    assert len(rows.get_yticklabels()) == 12
    with pytest.raises(InputError, match="no forest"):
        figures.forest({"readings": verdict["readings"][1:]})


def test_map_takes_the_axes_that_matter():
    """Of three columns the outcome depends on two, which are neither first nor named for it."""
    points = [
        {"regime": {"a": a, "b": b, "c": c}, "outcome": "supported" if b > c else "refuted", "checks": []}
        for a in (1, 2, 3)
        for b in (1, 2, 3)
        for c in (1, 2)
    ]
    axes = figures.regime_map({"id": "r", "outcome": "conditional", "points": points}).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("b [1]", "c [1]")


def test_figures_take_verdict_objects_and_save_three_kinds(tmp_path):
    found, panels = fixture.verdict("topic.one", {}, np.array([1.0]))
    figure = figures.claim_figure(found, panels)
    for name, start in (("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a.png", b"\x89PNG")):
        first = figures.save(figure, tmp_path / name).read_bytes()
        assert first.startswith(start)
        assert figures.save(figures.claim_figure(found, panels), tmp_path / f"b{name}").read_bytes() == first, name
    with pytest.raises(InputError, match=r"\.svg, \.pdf or \.png"):
        figures.save(figure, tmp_path / "a.gif")
    with pytest.raises(InputError, match="nothing to draw"):
        figures.claim_figure(found, [])
    with pytest.raises(InputError, match="got int"):
        figures.claim_figure(3, panels)


def test_settings_of_the_user_are_left_alone(bent):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 21.0, "svg.fonttype": "path"}):
        figures.inline(figures.panel_figure(bent[1][0]), "x")
        assert mpl.rcParams["font.size"] == 21.0
        assert mpl.rcParams["svg.fonttype"] == "path"


def test_no_pyplot_and_a_light_import():
    code = (
        "import sys; import rlaws.report; light = 'matplotlib' in sys.modules; import rlaws.report.figures; "
        "print(light, 'matplotlib.pyplot' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
