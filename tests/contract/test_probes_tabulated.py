"""The probe that reads a table: what it returns, what it refuses, and that it finds no law where there is none."""

from dataclasses import dataclass, field, fields
from typing import ClassVar

import numpy as np
import pytest

from rlaws.claims import Outcome, by_region
from rlaws.errors import InputError
from rlaws.fitting import fit
from rlaws.judging import widened
from rlaws.laws import law
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.tabulated import Tabulated
from rlaws.resampling import to_points

QUICK = Budget("quick", 1.0, 400)


def seed(n):
    return np.random.SeedSequence(n)


@dataclass(frozen=True)
class Table:
    """Scores of 40 runs at four sizes: a planted power of the size, or none."""

    exponent: float
    COLUMNS: ClassVar = {"size": "parameters", "score": "points", "kind": "name"}
    extra: dict = field(default_factory=dict)

    def table(self):
        rng = np.random.default_rng(5)
        size, run = np.repeat([10, 20, 40, 80], 40), np.tile(np.arange(40), 4)
        score = size**-self.exponent * np.exp(0.1 * rng.standard_normal(160))
        kind = np.where(run < 20, "a", "b")
        return {"size": size, "score": score, "seed": run, "kind": kind, "weight": np.full(160, 2.0)} | self.extra

    def provenance(self):
        return {"origin": "planted"}


def measured(policy, **settings):
    return Tabulated(**{"value": "score", "x": ("size",), **settings}).measure(policy, None, QUICK, seed(0))


def exponent(policy):
    m = measured(policy)
    points = to_points(m, np.random.default_rng(1), 400)
    found = fit(law("power"), points, {"x": "size"}, seed=1)
    return widened(found.value("b"), found.draws[:, found.index("b")], 0.999, points.clusters)


def test_a_planted_exponent_is_found_and_none_where_there_is_none():
    """Interval at 99.9 %: a false alarm in a thousand seeds for each of the two."""
    planted, null = exponent(Table(0.5)), exponent(Table(0.0))
    assert planted[0] < 0.5 < planted[1]
    assert planted[0] > 0.4
    assert by_region(null, (0.4, 0.6)) is Outcome.REFUTED
    assert null[0] < 0.0 < null[1]


def test_columns_units_and_runs_are_the_tables():
    m = measured(Table(0.5), regime=("kind",))
    assert m.x == ("size",)
    assert m.units["size"] == "parameters"
    assert m.response_unit == m.units["total"] == "points"
    assert m.regimes() == [{"kind": "a"}, {"kind": "b"}]
    assert m.provenance == {"origin": "planted", "value": "score", "runs": 20}
    assert "runs" not in measured(Table(0.5), runs="").provenance
    assert measured(Table(0.5), units={"size": "1e9 parameters"}).units["size"] == "1e9 parameters"


def test_without_a_design_variable_there_is_one_point():
    m = measured(Table(0.5), x=(), cluster=("seed", "size"))
    assert m.x == ("one",)
    assert set(m.columns["one"]) == {1.0}
    assert len(set(m.columns["cluster"].tolist())) == 160


def test_rows_are_chosen_by_value_or_values():
    m = measured(Table(0.5), where={"kind": "b", "size": [10, 80]})
    assert set(m.columns["size"].tolist()) == {10, 80}
    assert m.rows == 40
    with pytest.raises(InputError, match="leaves no row"):
        measured(Table(0.5), where={"kind": "c"})


def test_sums_that_are_not_named_are_one():
    assert set(measured(Table(0.5)).columns["weight"].tolist()) == {1.0}
    assert set(measured(Table(0.5), sums={"weight": "weight"}).columns["weight"].tolist()) == {2.0}
    gain = measured(Table(0.5), statistic="gain", sums={"before": "score"}, where={"kind": "a"})
    assert gain.columns["before"].tolist() == gain.columns["after"].tolist()
    with pytest.raises(InputError, match=r"sums\.before: statistic 'mean'"):
        Tabulated("score", sums={"before": "score"})


def test_a_ratio_of_slopes_holds_where_some_slopes_are_negative():
    """above = 1.22 below + noise, below of either sign by run: the ratio of the sums is 1.22 within its interval."""
    rng = np.random.default_rng(3)
    below = 0.05 + 0.08 * rng.standard_normal(160)
    extra = {"below": below, "above": 1.22 * below + 0.01 * rng.standard_normal(160)}
    assert (below < 0).sum() > 20
    table = Table(0.5, extra=extra)
    m = Tabulated("above", statistic="ratio", sums={"below": "below"}, cluster=("seed", "size")).measure(
        table, None, QUICK, seed(0)
    )
    points = to_points(m, np.random.default_rng(1), 400)
    found = fit(law("constant"), points, {"x": "one"}, seed=1)
    low, high = widened(found.value("c"), found.draws[:, found.index("c")], 0.999, points.clusters)
    assert 1.0 < low < 1.22 < high < 1.4


def test_reported_errors_are_read_from_the_table():
    m = measured(Table(0.5, {"stderr": np.full(160, 0.01)}), resample="reported", where={"seed": 3})
    assert set(m.columns["stderr"].tolist()) == {0.01}
    with pytest.raises(InputError, match="needs the column 'stderr'"):
        measured(Table(0.5), resample="reported")


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match="needs the column 'scores'"):
        measured(Table(0.5), value="scores")
    with pytest.raises(InputError, match="Column 'seed' has no unit"):
        measured(Table(0.5), x=("seed",), cluster=("size",))
    with pytest.raises(InputError, match="at least one column"):
        Tabulated("score", cluster=())


def test_every_setting_has_a_unit_and_every_capability_a_name():
    assert set(Tabulated.UNITS) == {f.name for f in fields(Tabulated)}
    assert all(isinstance(c, Capability) for need in Tabulated.REQUIRES for c in need)
