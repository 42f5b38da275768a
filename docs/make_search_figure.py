"""Draw the two figures of docs/search.md: success against compute of every search, and which search wins where.

python docs/make_search_figure.py (under a minute on one core; nothing is read, seed 20260401)

All searches of a panel or cell meet the same trees with the same value errors; intervals are percentiles over 1000
resamples of the trees, the same resamples for all searches, so that differences are paired.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from rlaws.report.figures import save
from rlaws.report.style import GREY, INK, styled
from rlaws.search import Search
from sim.tree import TreePolicy, TreeProblems

FOLDER = Path(__file__).parent / "figures"
SEED = 20260401
TREES, DRAWS = 1000, 1000
TREE = TreePolicy(branching=4, depth=6, unevenness=1.5)
# Name, method, select, colour, marker: hues of Okabe and Ito, and a marker each for those who see no hue.
SEARCHES = (
    ("best-of-N", "best_of_n", "oracle", "#1A1A1A", "o"),
    ("step beam", "beam", "oracle", "#0072B2", "s"),
    ("diverse beam", "diverse_beam", "oracle", "#56B4E9", "D"),
    ("MCTS (PUCT)", "mcts", "oracle", "#D55E00", "^"),
    ("lookahead", "lookahead", "oracle", "#009E73", "v"),
    ("best score", "best_of_n", "verifier", "#E69F00", "P"),
    ("majority vote", "best_of_n", "majority", "#CC79A7", "X"),
    ("weighted vote", "best_of_n", "weighted", "#7A6A4F", "*"),
)
ORACLE = SEARCHES[:5]
LETTERS = ("N", "B", "D", "M", "L")
NOISES, ACCURACIES = (0.5, 2.0), (0.4, 0.65)  # of the small multiples
ANSWERS = (1, 2, 4, 8, 16, 32, 64, 128)
MAP_NOISES = (0.0, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
MAP_ACCURACIES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
MAP_ANSWERS = 43  # 259 expansions


def solved(noise: float, step: float, search: Search) -> np.ndarray:
    """Return which trees are answered right within each budget, [P, K]; leaves are scored as noisily as nodes."""
    tree = replace(TREE, value_noise=noise, verifier_noise=0.0 if search.select == "oracle" else noise)
    problems = TreeProblems(step, TREES).draw(np.random.SeedSequence(SEED))
    return tree.branch(problems, search, np.random.SeedSequence(SEED)).right.astype(float)


def interval(values: np.ndarray) -> np.ndarray:
    """Return the 95 % interval of the mean over trees, [2, K], from [P, K]; the same resamples at every call."""
    weights = np.random.default_rng(SEED).multinomial(TREES, np.full(TREES, 1 / TREES), size=DRAWS) / TREES
    return np.percentile(weights @ values, (2.5, 97.5), axis=0)


# ------------------------------------------------------------------------------------------- success against compute
def curves(axes: Axes, budgets: np.ndarray, found: list[np.ndarray]) -> None:
    """Draw mean and interval of each search."""
    for (_, _, select, colour, marker), values in zip(SEARCHES, found, strict=True):
        low, high = interval(values)
        axes.fill_between(budgets, low, high, color=colour, alpha=0.18, lw=0)
        dashes = "-" if select == "oracle" else (0, (4, 1.5))
        axes.plot(budgets, values.mean(axis=0), color=colour, ls=dashes, marker=marker, ms=3.6, mew=0, lw=1.2)
    axes.set_xscale("log")
    axes.set_xticks([10, 30, 100, 300], ["10", "30", "100", "300"])
    axes.set_xticks([], minor=True)
    axes.grid(axis="y", color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)


def panel(top: Axes, bottom: Axes, noise: float, step: float) -> None:
    """Draw success, and below it what each search adds to best-of-N, in one regime."""
    budgets = 1 + TREE.depth * np.array(ANSWERS)
    found = [solved(noise, step, Search(m, tuple(budgets.tolist()), s)) for _, m, s, _, _ in SEARCHES]
    curves(top, budgets, found)
    curves(bottom, budgets, [f - found[0] for f in found])
    top.set_title(f"value noise {noise:g}, step accuracy {step:g}", fontsize=8, weight="bold", loc="left")
    top.set_ylim(-0.03, 1.03)
    bottom.set_ylim(-1.03, 1.03)
    bottom.set_xlabel("compute per problem (node expansions)")


def keys(figure: Figure) -> None:
    """Put one legend for each way of choosing the answer."""
    titles = {True: "counts as solved once the right answer is reached (oracle):", False: "one of N samples is chosen:"}
    for row, (select, title) in enumerate(titles.items()):
        shown = [s for s in SEARCHES if (s[2] == "oracle") == select]
        dashes = "-" if select else (0, (4, 1.5))
        handles = [Line2D([], [], color=s[3], ls=dashes, marker=s[4], ms=4, mew=0, lw=1.2) for s in shown]
        y = 0.083 - 0.041 * row
        figure.text(0.05, y, title, va="center", color=GREY, fontsize=7.5)
        figure.legend(handles, [s[0] for s in shown], loc="center left", bbox_to_anchor=(0.36, y), ncols=5,
                      handlelength=2.6, columnspacing=1.6, borderaxespad=0)  # fmt: skip
    figure.text(0.05, 0.006, f"{TREES} trees (b = {TREE.branching}, d = {TREE.depth}) a panel, the same for all "
                "searches; bands: 95 %, trees resampled, differences paired", color=GREY, fontsize=7)  # fmt: skip


def methods_figure() -> Figure:
    """Return success against compute in four regimes, with the paired difference to best-of-N below."""
    with styled():
        figure = Figure(figsize=(10.6, 5.6))
        grid = figure.subplots(2, 4, sharex=True, sharey="row")
        figure.subplots_adjust(left=0.06, right=0.99, top=0.95, bottom=0.19, hspace=0.12, wspace=0.1)
        regimes = [(noise, step) for noise in NOISES for step in ACCURACIES]
        for column, (noise, step) in enumerate(regimes):
            panel(grid[0, column], grid[1, column], noise, step)
        grid[0, 0].set_ylabel("success (share of problems)")
        grid[1, 0].set_ylabel("success less that of best-of-N")
        keys(figure)
    return figure


# ------------------------------------------------------------------------------------------- who wins
def winner(noise: float, step: float) -> tuple[int, list[int], float]:
    """Return the search with the highest success, those not told from it, and its success."""
    budget = (1 + TREE.depth * MAP_ANSWERS,)
    found = np.column_stack([solved(noise, step, Search(m, budget, s))[:, 0] for _, m, s, _, _ in ORACLE])
    first = int(found.mean(axis=0).argmax())
    low = interval(found[:, [first]] - found)[0]
    tied = [i for i in range(len(ORACLE)) if i != first and low[i] <= 0]
    return first, tied, float(found[:, first].mean())


def winner_figure() -> Figure:
    """Return the map of the search with the highest success at one budget; grey and hatched where none is ahead."""
    with styled():
        figure = Figure(figsize=(7.4, 4.6))
        axes = figure.add_axes((0.085, 0.115, 0.7, 0.8))
        for i, noise in enumerate(MAP_NOISES):
            for j, step in enumerate(MAP_ACCURACIES):
                cell(axes, i, j, *winner(noise, step))
        axes.set_xlim(-0.5, len(MAP_NOISES) - 0.5)
        axes.set_ylim(-0.5, len(MAP_ACCURACIES) - 0.5)
        axes.set_xticks(range(len(MAP_NOISES)), [f"{v:g}" for v in MAP_NOISES])
        axes.set_yticks(range(len(MAP_ACCURACIES)), [f"{v:g}" for v in MAP_ACCURACIES])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("value noise (standard deviation, in units of the gap between right and wrong)")
        axes.set_ylabel("step accuracy (probability of the right step)")
        budget = 1 + TREE.depth * MAP_ANSWERS
        axes.set_title(f"Highest success within {budget} expansions", fontsize=8.5, weight="bold", loc="left")
        map_key(figure)
    return figure


def cell(axes: Axes, i: int, j: int, first: int, tied: list[int], success: float) -> None:
    """Draw one regime: the winner's colour, letter and success, or grey with the letters of all that are level."""
    colour = "#D9D9D9" if tied else ORACLE[first][3]
    ink = INK if tied or ORACLE[first][3] in ("#56B4E9", "#009E73") else "white"
    axes.add_patch(Rectangle((i - 0.5, j - 0.5), 1, 1, fc=colour, ec="white", lw=1.2))
    if tied:
        axes.add_patch(Rectangle((i - 0.5, j - 0.5), 1, 1, fc="none", ec="#BDBDBD", lw=0, hatch="////"))
    letters = "".join(LETTERS[k] for k in sorted([first, *tied]))
    back = {"fc": colour, "ec": "none", "pad": 0.8} if tied else None
    axes.text(i, j + 0.17, letters, ha="center", va="center", color=ink, weight="bold", fontsize=8, bbox=back)
    axes.text(i, j - 0.22, f"{success:.2f}", ha="center", va="center", color=ink, fontsize=7, bbox=back)


def map_key(figure: Figure) -> None:
    """Say what colours, letters and numbers stand for."""
    handles = [Patch(fc=s[3], ec="none") for s in ORACLE]
    labels = [f"{letter}  {s[0]}" for letter, s in zip(LETTERS, ORACLE, strict=True)]
    handles.append(Patch(fc="#D9D9D9", ec="#BDBDBD", hatch="////", lw=0))
    labels.append("none ahead: 95 %\ninterval of first less\nsecond includes 0")
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.795, 0.925), borderaxespad=0, labelspacing=0.8)
    note = f"number: success\nof the first\n\n{TREES} trees a cell,\nthe same for all;\noracle chooses"
    figure.text(0.797, 0.6, note, color=GREY, fontsize=7.5, va="top", linespacing=1.4)


def main() -> None:
    """Write both figures."""
    save(methods_figure(), FOLDER / "search_methods.svg")
    save(winner_figure(), FOLDER / "search_winner.svg")


if __name__ == "__main__":
    main()
