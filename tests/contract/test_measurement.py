import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.estimators import pass_at_k
from rlaws.links import apply_link
from rlaws.measurement import Measurement, concat
from rlaws.resampling import split, to_points


def table(**changes):
    columns = {
        "k": np.tile([1, 2, 4], 3),
        "cluster": np.repeat(["a", "b", "c"], 3),
        "n_hits": np.array([1, 2, 4, 0, 1, 3, 2, 3, 5]),
        "n_trials": np.full(9, 5),
    }
    units = {"k": "samples", "n_hits": "1", "n_trials": "1"}
    made = {"x": ("k",), "statistic": "rate", "response": "success", "response_unit": "1"}
    return Measurement(columns={**columns, **changes.pop("columns", {})}, units=units | changes.pop("units", {}),
                       **{**made, **changes})  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"columns": {"n_hits": np.array([1, 2, 4, 0, 6, 3, 2, 3, 5])}}, "Row 4: n_hits = 6 exceeds n_trials = 5"),
        ({"columns": {"n_trials": np.array([5, 5, 5, 5, 5, 5, 5, -5, 5])}}, "Row 7, column 'n_trials': -5 is negative"),
        ({"columns": {"n_hits": np.array([1, 2, np.nan, 0, 1, 3, 2, 3, 5])}}, "Row 2, column 'n_hits': nan"),
        ({"columns": {"k": np.array([1, 2, np.inf] * 3)}}, "Row 2, column 'k': inf"),
        ({"units": {"k": ""}}, "Column 'k' has no unit"),
        ({"response_unit": ""}, "has no unit"),
        ({"x": ("kk",)}, "no column 'kk'. Did you mean 'k'"),
        ({"statistic": "rat"}, "no statistic 'rat'. Did you mean 'rate'"),
        ({"resample": "cluster"}, "Did you mean 'clusters'"),
        ({"columns": {"k": np.array(["x"] * 9)}}, "not numbers"),
        ({"columns": {"k": np.array([1, 2])}}, "differ in length"),
    ],
)
def test_bad_tables_are_refused_by_name(change, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(").replace(".", r"\.")):
        table(**change)


def test_empty_table_is_refused():
    with pytest.raises(InputError, match="no rows"):
        Measurement({k: np.array([]) for k in ("k", "cluster", "n_hits", "n_trials")},
                    {"k": "1", "n_hits": "1", "n_trials": "1"}, ("k",), "rate", "success", "1")  # fmt: skip


def test_points_are_sums_over_clusters_and_draws_resample_them():
    m = table()
    points = to_points(m, np.random.default_rng(0), 4000)
    np.testing.assert_allclose(points.y, [3 / 15, 6 / 15, 12 / 15])
    rates = m.columns["n_hits"].reshape(3, 3) / 5
    # the bootstrap variance of a mean over C clusters is the plug-in variance over C; 6 standard errors of 4000 draws
    np.testing.assert_allclose(points.draws.var(axis=0), rates.var(axis=0) / 3, rtol=6 * np.sqrt(2 / 4000))
    assert points.clusters == 3


def test_draws_keep_the_correlation_of_a_cluster():
    rng = np.random.default_rng(1)
    base = rng.random(200)
    columns = {"k": np.tile([1, 2], 200), "cluster": np.repeat(np.arange(200), 2),
               "total": np.repeat(base, 2), "weight": np.ones(400)}  # fmt: skip
    m = Measurement(columns, {"k": "1", "total": "1", "weight": "1"}, ("k",), "mean", "y", "1")
    draws = to_points(m, rng, 500).draws
    np.testing.assert_allclose(draws[:, 0], draws[:, 1])


def test_two_rows_of_a_cluster_at_one_point_are_refused():
    with pytest.raises(InputError, match="two rows"):
        to_points(table(columns={"k": np.tile([1, 1, 4], 3)}), np.random.default_rng(0), 100)


def test_hold_out_is_sealed():
    points = to_points(table(), np.random.default_rng(0), 100)
    train, sealed = split(points, "k", largest=1)
    assert train.y.size == 2
    assert len(sealed) == 1
    assert not hasattr(sealed, "y")
    assert not hasattr(sealed, "points")
    assert sealed.open(frozenset(train.ids.tolist()))[1] == "predicted"
    assert sealed.open(frozenset(points.ids.tolist()))[1] == "fitted"
    with pytest.raises(InputError, match="Did you mean 'k'"):
        split(points, "kk", largest=1)
    with pytest.raises(InputError, match="give more points"):
        split(points, "k", largest=3)


def test_cells_with_other_columns_do_not_mix():
    m = table()
    with pytest.raises(InputError, match="differ in columns"):
        concat([m, m.with_regime({"p": 0.5}, {"p": "1"})])
    with pytest.raises(InputError, match="no finished cell"):
        concat([])


def test_stacked_cells_add_their_costs():
    a, b = table(provenance={"cost": {"rollouts": 3}}), table(provenance={"cost": {"rollouts": 4, "tokens": 1}})
    assert concat([a, b]).provenance["cost"] == {"rollouts": 7, "tokens": 1}


def test_links_by_hand():
    y, y0 = np.array([0.75]), np.array([0.5])
    assert apply_link("absolute", y, y0)[0] == pytest.approx(0.25)
    assert apply_link("headroom", y, y0)[0] == pytest.approx(0.5)
    assert apply_link("log_error", y, y0)[0] == pytest.approx(np.log(2))
    assert apply_link("logit", y, y0)[0] == pytest.approx(np.log(3))
    with pytest.raises(InputError, match="leaves"):
        apply_link("logit", np.array([1.2]))
    with pytest.raises(InputError, match="infinite"):
        apply_link("log_error", np.array([1.0]))
    with pytest.raises(InputError, match="Did you mean 'logit'"):
        apply_link("logti", y)


def test_pass_at_k_by_hand_and_refusals():
    # n = 4, c = 1: a draw of 2 misses with C(3,2)/C(4,2) = 1/2; of 4 never
    np.testing.assert_allclose(pass_at_k([4, 4, 4], [1, 0, 4], [1, 2, 4]),
                               [[0.25, 0.5, 1.0], [0, 0, 0], [1, 1, 1]])  # fmt: skip
    with pytest.raises(InputError, match="Row 1"):
        pass_at_k([4, 4], [1, 5], [1])
    with pytest.raises(InputError, match="ask k <="):
        pass_at_k([4], [1], [5])
