"""Bad tables are refused with file, row and key; probes of tables find no law where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rlaws.errors import InputError, MissingDataError
from rlaws.fitting import FitStatus, fit
from rlaws.laws import law
from rlaws.logs import printed
from rlaws.logs.counts import COUNTS, RecordedCounts, RecordedProblems
from rlaws.logs.curves import LAYOUTS, RecordedCurves
from rlaws.logs.printed import PrintedTable
from rlaws.logs.tables import read
from rlaws.policy import Capability, lacks, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.probes.converged_loss import ConvergedLoss
from rlaws.probes.curve_slope import CurveSlope
from rlaws.probes.group_budget import GroupBudget
from rlaws.probes.learning_curve import LearningCurve
from rlaws.probes.reuse_loss import ReuseLoss
from rlaws.probes.size_gain import SizeGain
from rlaws.problems import ProblemSet
from rlaws.resampling import to_points

SEED = np.random.SeedSequence(20260401)
BUDGET = Budget("quick", 1.0, 400)
HEADER = "model,problem_idx,n_samples,n_correct\n"
GOOD = HEADER + "A,1,10,3\nA,2,10,0\n"


def counts_file(folder: Path, text: str | bytes) -> Path:
    path = folder / COUNTS.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def recorded(folder: Path, text: str | bytes, model: str = "A") -> RecordedCounts:
    counts_file(folder, text)
    return RecordedCounts(str(folder), model)


# ------------------------------------------------------------------------------------------------- bad tables
BAD = {
    "empty file": ("", "is empty"),
    "header only": (HEADER, "no rows below its header"),
    "one row": (HEADER + "A,1,10,3\n", "one row below its header"),
    "unknown column": (GOOD.replace("n_correct", "n_corect"), "'n_corect' is not known. Did you mean 'n_correct'"),
    "missing column": ("model,problem_idx,n_samples\nA,1,10\nA,2,10\n", "row 1: column 'n_correct' is missing"),
    "repeated column": ("model,model,n_samples,n_correct\nA,1,10,3\nA,2,10,3\n", "column 'model' stands there 2 times"),
    "more right than sampled": (HEADER + "A,1,10,3\nA,2,10,11\n", "problem_idx = 2): n_correct = 11 exceeds n_samples"),
    "negative": (HEADER + "A,1,10,3\nA,2,10,-1\n", "row 3 (model = A, problem_idx = 2): column 'n_correct' holds -1"),
    "no samples": (HEADER + "A,1,10,3\nA,2,0,0\n", "row 3 (model = A, problem_idx = 2): column 'n_samples' holds 0"),
    "NaN": (HEADER + "A,1,10,nan\nA,2,10,1\n", "row 2 (model = A, problem_idx = 1): column 'n_correct' holds 'nan'"),
    "infinite": (HEADER + "A,1,inf,3\nA,2,10,1\n", "row 2 (model = A, problem_idx = 1): column 'n_samples' holds"),
    "blank cell": (HEADER + "A,1,10,\nA,2,10,1\n", "row 2 (model = A, problem_idx = 1): column 'n_correct' is blank"),
    "blank name": (HEADER + ",1,10,3\nA,2,10,1\n", "row 2 (model = , problem_idx = 1): column 'model' is blank"),
    "fraction": (HEADER + "A,1,10,2.5\nA,2,10,1\n", "row 2 (model = A, problem_idx = 1): column 'n_correct' holds 2.5"),
    "word": (HEADER + "A,1,ten,3\nA,2,10,1\n", "row 2 (model = A, problem_idx = 1): column 'n_samples' holds 'ten'"),
    "twice": (GOOD + "A,1,10,4\n", "row 4 (model = A, problem_idx = 1) is there already in row 2"),
    "cut off": (GOOD + "A,3,1", "row 4: 3 cells, but there are 4 columns. The file may be cut off there."),
    "extra cell": (HEADER + "A,1,10,3,7\nA,2,10,1\n", "row 2: 5 cells, but there are 4 columns."),
    "open quote": (GOOD + '"A,3,10,1\n', "is not a comma-separated table"),
    "binary": (b"PAR1\x15\x04\xff\xfe\x00\x01", "is not a text file"),
    "zero bytes": (b"\x00\x00\x00\x00\n\x00\x00\n\x00\n", "is not a text file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_with_row_and_key(case: str, tmp_path: Path) -> None:
    text, words = BAD[case]
    policy = recorded(tmp_path, text)
    with pytest.raises(InputError) as error:
        policy.count(None, 10, SEED)
    assert words in str(error.value)
    assert "counts.csv" in str(error.value)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("base,-7,1,512,1e17,0.5", "column 'model_B' holds -7; it must be more than 0"),
        ("base,0,1,512,1e17,0.5", "column 'model_B' holds 0; it must be more than 0"),
        ("base,7,1,512,1e17,1.5", "column 'test_loss' holds 1.5; it must be at least 0 and at most 1"),
        ("base,7,1,512,-1e17,0.5", "column 'cum_flops' holds -1e17"),
        ("base,7,1.5,512,1e17,0.5", "column 'step' holds 1.5, not a whole number"),
    ],
)
def test_curves_out_of_range_are_refused(cells: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("family,model_B,step,samples,cum_flops,test_loss\n" + cells + "\nbase,7,2,1024,2e17,0.4\n")
    with pytest.raises(InputError) as error:
        RecordedCurves(str(tmp_path), "loss_curves", "mine.csv").table()
    assert "mine.csv, row 2 (family = base, model_B = " in str(error.value)
    assert words in str(error.value)


def test_good_tables_pass_whatever_their_dress(tmp_path: Path) -> None:
    """Byte-order mark, Windows line ends, blank lines, spaces, another order of columns, 10.0 for 10: all fine."""
    dressed = "\ufeffproblem_idx, model,n_samples,n_correct\r\n1,A,10.0,3\r\n\r\n2, A ,10,0"
    n, c = recorded(tmp_path, dressed).count(None, 1, SEED)
    assert n.tolist() == [10, 10]
    assert c.tolist() == [3, 0]
    assert n.dtype == np.int64


def test_unreadable_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / COUNTS.file).mkdir(parents=True)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        RecordedCounts(str(tmp_path), "A").count(None, 1, SEED)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_files_without_permission_are_refused(tmp_path: Path) -> None:
    path = counts_file(tmp_path, GOOD)
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read(path, COUNTS)


def test_missing_public_data_says_where_it_is_published(tmp_path: Path) -> None:
    for policy in (RecordedCounts(str(tmp_path), "Pythia 1B"), RecordedCurves(str(tmp_path), "group_size")):
        with pytest.raises(MissingDataError) as error:
            policy.sources()
        for word in ("arXiv", "github.com/", "commit", "licence", str(tmp_path), "RLAWS_DATA", "docs/data.md"):
            assert word in str(error.value)


def test_unknown_names_are_suggested(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'Pythia 1B'"):
        recorded(tmp_path, GOOD.replace("A", "Pythia 1B"), "Pythia 1b").count(None, 1, SEED)
    with pytest.raises(InputError, match="Did you mean 'group_size'"):
        RecordedCurves(str(tmp_path), "groupsize")
    with pytest.raises(InputError, match="Did you mean 'policy_gain'"):
        PrintedTable("policy_gains")
    with pytest.raises(InputError, match="Did you mean 'gsm8k_grpo'"):
        PrintedTable("policy_gain", "gsm8k").table()


# ---------------------------------------------------------------------------------------------------- policies
def test_counts_follow_the_order_of_the_problems_asked(tmp_path: Path) -> None:
    policy = recorded(tmp_path, HEADER + "A,7,10,3\nA,9,20,4\nA,11,30,5\nB,7,10,1\nB,9,20,1\nB,11,30,1\n")
    n, c = policy.count(ProblemSet(np.array(["11", "7"]), {}), 1, SEED)
    assert (n.tolist(), c.tolist()) == ([30, 10], [5, 3])
    problems = RecordedProblems(str(tmp_path)).draw(SEED)
    assert problems.ids.tolist() == ["7", "9", "11"]
    with pytest.raises(InputError, match="Problem '8' is not in the recorded counts"):
        policy.count(ProblemSet(np.array(["8"]), {}), 1, SEED)


def test_models_with_different_problems_are_refused(tmp_path: Path) -> None:
    counts_file(tmp_path, HEADER + "A,1,10,3\nA,2,10,0\nB,1,10,3\n")
    with pytest.raises(InputError, match="problem_idx = 2 is missing for some model"):
        RecordedProblems(str(tmp_path)).draw(SEED)


def test_recorded_policies_offer_only_what_they_have(tmp_path: Path) -> None:
    only_counts = RecordedCounts(str(tmp_path), "A")
    assert not lacks(only_counts, [frozenset({Capability.COUNT})])
    assert lacks(only_counts, [frozenset({Capability.SUCCESS})]) == ["SUCCESS"]
    with pytest.raises(InputError, match="needs TABLE"):
        refuse_unless_able(only_counts, LearningCurve.REQUIRES, "learning_curve")
    with pytest.raises(InputError, match="offers TABLE"):
        refuse_unless_able(PrintedTable("policy_gain"), [frozenset({Capability.COUNT})], "pass_at_k")


@pytest.mark.parametrize("name", printed.LAYOUTS)
def test_every_printed_number_carries_its_citation(name: str) -> None:
    table = PrintedTable(name).table()
    assert all(c.startswith(("arXiv ", "github.com/")) for c in table["cite"])
    assert all(len(p) > 10 for p in table["place"])


# ------------------------------------------------------------------------------------------------------ probes
def noise(rng: np.random.Generator, number: int, rho: float = 0.3) -> np.ndarray:
    """Stationary AR(1) noise of unit variance."""
    e = rng.standard_normal(number)
    for t in range(1, number):
        e[t] = rho * e[t - 1] + np.sqrt(1 - rho**2) * e[t]
    return e


def curves_file(folder: Path, slopes: dict[float, float], rng: np.random.Generator, steps: int = 100) -> RecordedCurves:
    """Write curves log L = log 0.8 - k log(samples / 512) with 1 % noise; compute is proportional to samples."""
    lines = ["family,model_B,step,samples,cum_flops,test_loss"]
    for size, k in slopes.items():
        loss = 0.8 * np.arange(1, steps + 1) ** -k * np.exp(0.01 * noise(rng, steps))
        lines += [f"base,{size},{t},{512 * t},{6e16 * size * t:.6g},{v:.8f}" for t, v in enumerate(loss, start=1)]
    (folder / "curves.csv").write_text("\n".join(lines) + "\n")
    return RecordedCurves(str(folder), "loss_curves", "curves.csv")


def test_curve_slope_has_honest_errors_on_flat_curves(tmp_path: Path) -> None:
    """Null world: 200 flat curves. At |k| > 1.96 s.e. 5 % are expected; more than 11 % has chance < 0.001 at 5 %."""
    rng = np.random.default_rng(1)
    policy = curves_file(tmp_path, {1.0 + i: 0.0 for i in range(200)}, rng)
    m = CurveSlope(replicas=200).measure(policy, None, BUDGET, SEED)
    alarms = np.mean(np.abs(m.columns["total"]) > 1.96 * m.columns["stderr"])
    assert alarms <= 0.11
    assert alarms > 0  # an error bar that never alarms in 200 is far too wide (chance 0.00004)


def test_curve_slope_finds_planted_slopes(tmp_path: Path) -> None:
    """Positive control; 4.5 standard errors, false alarm below 1e-4 for the three curves together."""
    slopes = {1.0: 0.02, 7.0: 0.05, 32.0: 0.1}
    m = CurveSlope("flops").measure(curves_file(tmp_path, slopes, np.random.default_rng(2)), None, BUDGET, SEED)
    z = (m.columns["total"] - np.array([slopes[s] for s in m.columns["model_B"]])) / m.columns["stderr"]
    assert np.all(np.abs(z) < 4.5)
    assert np.all(m.columns["total"] > 4.5 * m.columns["stderr"])


def fitted_interval(m, name: str, columns: dict[str, str], param: str, level: float = 0.999, **options):
    points = to_points(m, np.random.default_rng(3), BUDGET.draws)
    found = fit(law(name), points, columns, draws=BUDGET.draws, seed=4, **options)
    assert found.status is FitStatus.OK
    return found.interval(param, level)


def test_learning_curve_finds_no_law_in_a_flat_curve(tmp_path: Path) -> None:
    """Negative control at level 99.9 %, beside a planted curve."""
    policy = curves_file(tmp_path, {1.0: 0.0, 7.0: 0.05}, np.random.default_rng(5))
    m = LearningCurve().measure(policy, None, BUDGET, SEED)
    flat, planted = (m.select({"model_B": s}) for s in (1.0, 7.0))
    low, high = fitted_interval(flat, "log_linear", {"x": "resource"}, "k", weights="equal")
    assert low < 0 < high
    low, high = fitted_interval(planted, "log_linear", {"x": "resource"}, "k", weights="equal")
    assert 0 < low < 0.05 < high


def test_anchor_makes_inputs_of_the_first_evaluations(tmp_path: Path) -> None:
    policy = curves_file(tmp_path, {1.0: 0.0, 7.0: 0.1}, np.random.default_rng(6))
    plain = LearningCurve(pool="sizes").measure(policy, None, BUDGET, SEED)
    m = LearningCurve(pool="sizes", anchor=5).measure(policy, None, BUDGET, SEED)
    assert plain.x == ("model_B", "resource")
    assert m.x == ("model_B", "resource", "growth", "start_loss")
    assert m.rows == plain.rows - 10
    first = plain.columns["total"][plain.columns["model_B"] == 7.0][:5]
    start = np.unique(m.columns["start_loss"][m.columns["model_B"] == 7.0])
    assert start == pytest.approx(np.exp(np.mean(np.log(first))))
    growth = m.columns["growth"][m.columns["model_B"] == 7.0]
    assert growth[0] == pytest.approx(6 / 120**0.2)
    with pytest.raises(InputError, match="needs more than anchor = 100"):
        LearningCurve(anchor=100).measure(policy, None, BUDGET, SEED)


def test_a_total_that_falls_is_dropped_on_the_axis_it_falls_on(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text(
        "family,model_B,step,samples,cum_flops,test_loss\n"
        "base,7,3,1536,2.5e17,0.7\nbase,7,1,512,1e17,0.9\nbase,7,2,1024,3e17,0.8\nbase,7,4,2048,4e17,0.6\n"
    )
    policy = RecordedCurves(str(tmp_path), "loss_curves", "curves.csv")
    by_samples = LearningCurve("samples").measure(policy, None, BUDGET, SEED)
    by_flops = LearningCurve("flops").measure(policy, None, BUDGET, SEED)
    assert (by_samples.rows, by_flops.rows) == (4, 3)
    assert 0.7 not in by_flops.columns["total"]
    assert by_flops.provenance["dropped"] == 1
    with pytest.raises(InputError, match="needs at least 4 evaluations above 0; it has 3"):
        CurveSlope("difference").measure(policy, None, BUDGET, SEED)  # dropped on both axes


def test_slopes_differ_only_where_compute_is_not_proportional_to_data(tmp_path: Path) -> None:
    """Negative control: C proportional to D gives k_D - k_C = 0 exactly. Planted: C as D^2 halves the slope, 0.05."""
    policy = curves_file(tmp_path, {7.0: 0.1}, np.random.default_rng(7))
    probe = CurveSlope("difference", per_size=True)
    m = probe.measure(policy, None, BUDGET, SEED)
    assert m.regime == ("family", "model_B")
    assert abs(m.columns["total"][0]) < 1e-6  # the file gives compute to six digits
    table = policy.table()
    lines = ["family,model_B,step,samples,cum_flops,test_loss"]
    rows = zip(table["step"], table["test_loss"], strict=True)
    lines += [f"base,7,{t},{512 * t},{1e15 * t * t:.6g},{v:.8f}" for t, v in rows]
    (tmp_path / "curves.csv").write_text("\n".join(lines) + "\n")
    m = probe.measure(policy, None, BUDGET, SEED)
    assert abs(m.columns["total"][0] - 0.05) < 4.5 * m.columns["stderr"][0] < 0.02


def groups_file(folder: Path, gain: float, rng: np.random.Generator) -> RecordedCurves:
    """Write four group sizes: log loss falls by ``gain`` a doubling of G at equal samples; compute is G x samples."""
    lines = ["family,model_B,group_size,step,samples,cum_flops,test_loss"]
    for doubling, g in enumerate((4, 8, 16, 32)):
        loss = 0.8 * np.arange(10, 110) ** -0.05 * np.exp(-gain * doubling + 0.01 * noise(rng, 100))
        lines += [f"base,7,{g},{t},{512 * t},{1e16 * g * t:.6g},{v:.8f}" for t, v in enumerate(loss, start=10)]
    (folder / "groups.csv").write_text("\n".join(lines) + "\n")
    return RecordedCurves(str(folder), "group_size", "groups.csv")


def test_group_budget_finds_nothing_where_groups_are_alike(tmp_path: Path) -> None:
    """Negative control per sample (99.9 % for three pairs), beside a planted gain of 2 % a doubling."""
    columns = {"x": "position"}
    for gain in (0.0, 0.02):
        m = GroupBudget("samples").measure(groups_file(tmp_path, gain, np.random.default_rng(8)), None, BUDGET, SEED)
        assert [r["smaller_group"] for r in m.regimes()] == [4, 8, 16]
        for regime in m.regimes():
            low, high = fitted_interval(m.select(regime), "constant", columns, "c", scale="linear", weights="equal")
            assert low < -gain < high
            assert (high < 0) == (gain > 0)


def test_group_budget_compares_at_equal_compute(tmp_path: Path) -> None:
    """With no gain per sample and L falling as samples^-0.05, twice the cost loses 0.05 log 2 at equal compute."""
    m = GroupBudget("flops").measure(groups_file(tmp_path, 0.0, np.random.default_rng(9)), None, BUDGET, SEED)
    for regime in m.regimes():
        part = m.select(regime)
        assert part.columns["position"].min() >= 0
        assert part.columns["position"].max() <= 1
        assert np.mean(part.columns["total"]) == pytest.approx(0.05 * np.log(2), abs=0.01)


def test_group_budget_refuses_groups_that_share_no_budget(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text(
        "family,model_B,group_size,step,samples,cum_flops,test_loss\n"
        "base,7,4,1,10,1,0.9\nbase,7,4,2,20,2,0.8\nbase,7,8,1,10,3,0.9\nbase,7,8,2,20,4,0.8\n"
    )
    with pytest.raises(InputError, match="share no range of budgets"):
        GroupBudget("flops").measure(RecordedCurves(str(tmp_path), "group_size", "groups.csv"), None, BUDGET, SEED)


def test_reuse_loss_finds_no_cost_where_there_is_none(tmp_path: Path) -> None:
    """Negative control (99.9 %) at tau = 25, beside a planted cost of 0.05 at tau = 100."""
    rng = np.random.default_rng(10)
    lines = ["family,model_B,reuse_tau,step,test_loss"]
    for tau, cost in ((1, 0.0), (25, 0.0), (100, 0.05)):
        loss = 0.7 + cost + 0.01 * noise(rng, 60)
        lines += [f"base,7,{tau},{t},{v:.8f}" for t, v in enumerate(loss, start=1)]
    (tmp_path / "reuse.csv").write_text("\n".join(lines) + "\n")
    m = ReuseLoss().measure(RecordedCurves(str(tmp_path), "data_reuse", "reuse.csv"), None, BUDGET, SEED)
    assert m.rows == 40
    for tau, cost in ((25.0, 0.0), (100.0, 0.05)):
        part = m.select({"reuse_tau": tau})
        low, high = fitted_interval(part, "constant", {"x": "step"}, "c", scale="linear", weights="equal")
        assert low < cost < high
        assert (low > 0) == (cost > 0)


def test_reuse_loss_needs_a_run_without_reuse(tmp_path: Path) -> None:
    (tmp_path / "reuse.csv").write_text("family,model_B,reuse_tau,step,test_loss\nbase,7,2,1,0.5\nbase,7,4,1,0.5\n")
    with pytest.raises(InputError, match="needs a run with reuse_tau = 1"):
        ReuseLoss().measure(RecordedCurves(str(tmp_path), "data_reuse", "reuse.csv"), None, BUDGET, SEED)


class Flat:
    """A printed table in which size changes nothing."""

    def __init__(self, **columns: object) -> None:
        self.columns = {name: np.array(values) for name, values in columns.items()}

    def table(self) -> dict[str, np.ndarray]:
        return self.columns


def test_printed_probes_find_no_law_where_size_changes_nothing() -> None:
    """Negative controls: equal values with 1 % scatter, interval of the slope at 99.9 %."""
    rng = np.random.default_rng(11)
    sizes, jitter = [0.5, 1.5, 3.0, 7.0, 14.0, 32.0, 72.0], 0.01 * rng.standard_normal(7)
    converged = Flat(
        table=["t"] * 7, family=["f"] * 7, model_B=sizes, pass_at_1=0.4 + jitter, stderr=[0.01] * 7, runs=[3] * 7
    )
    m = ConvergedLoss().measure(converged, None, BUDGET, SEED)
    assert m.provenance["runs"] == 3
    low, high = fitted_interval(m, "linear_log", {"x": "model_B"}, "c1", scale="linear")
    assert low < 0 < high
    gains = Flat(
        task=["t"] * 7, model=list("abcdefg"), model_B=sizes, before=[0.4] * 7, after=0.6 + jitter, gain=0.2 + jitter,
        questions=[5000.0] * 7, rounding=[0.0005] * 7, runs=[3] * 7,
    )  # fmt: skip
    m = SizeGain().measure(gains, None, BUDGET, SEED)
    low, high = fitted_interval(m, "linear_log", {"x": "model_B"}, "c1", scale="linear")
    assert low < 0 < high


def test_gains_without_a_value_before_have_only_the_absolute_reading() -> None:
    m = SizeGain().measure(PrintedTable("policy_gain", "rlhf_32B_reward_model"), None, BUDGET, SEED)
    assert m.statistic == "mean"
    assert m.provenance["runs"] == 1
    with pytest.raises(InputError, match="not a bounded metric"):
        to_points(m, np.random.default_rng(0), 100, "logit")
    full = SizeGain().measure(PrintedTable("policy_gain", "gsm8k_grpo"), None, BUDGET, SEED)
    assert full.statistic == "gain"
    for link in ("absolute", "headroom", "log_error", "logit"):
        assert np.all(to_points(full, np.random.default_rng(0), 100, link).y > 0)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_probe_says_which_column_a_table_lacks(name: str, tmp_path: Path) -> None:
    del tmp_path
    probes = {"loss_curves": GroupBudget(), "group_size": ReuseLoss(), "data_reuse": LearningCurve()}
    table = Flat(**{column: [1.0, 2.0] for column in LAYOUTS[name].columns})
    with pytest.raises(InputError, match="needs the column"):
        probes[name].measure(table, None, BUDGET, SEED)
