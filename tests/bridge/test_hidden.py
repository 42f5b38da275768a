"""Value probes on planted states whose values are known, and on the hidden states of a random model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_bridge import hidden
from llm_bridge.hidden import HiddenProbes, collect, hidden_states, prefixes, problems_of
from llm_bridge.inside import model_of
from llm_bridge.value_probes import (
    PENALTIES,
    Fitted,
    Linear,
    Network,
    explained,
    explained_returns,
    fold_of,
    ridge,
    slopes,
)
from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.tabulated import Tabulated
from rlaws.seeding import seed_sequence

DIMS = 12


def planted(rng, problems=240, each=5, again=4):
    """States of problems: V depends on the first numbers of their vectors; returns and continuations are tossed."""
    own = rng.standard_normal((problems, 1, DIMS))
    x = (own + rng.standard_normal((problems, each, DIMS))).reshape(-1, DIMS)
    value = 1 / (1 + np.exp(-x[:, 0] - 0.7 * x[:, 1]))
    weight = rng.integers(1, 6, len(x))
    mean = rng.binomial(weight, value) / weight
    halves = rng.binomial(again // 2, value, (2, len(x))) / (again // 2)
    return x, value, weight.astype(float), mean, halves, np.arange(problems).repeat(each)


# ------------------------------------------------------------------------------------------------ what is explained
def test_explained_variance_is_free_of_the_noise_of_returns():
    """20000 states, two tosses each: EV of V itself is 1, of a constant 0, of V with known error 1 - Var(error)/Var(V).

    The sd of the estimate is below 0.02 (40 repetitions agree); bands are 5 of them.
    """
    rng = np.random.default_rng(0)
    _, value, weight, mean, (first, second), _ = planted(rng, 4000)
    assert explained(value, first, second, weight) == pytest.approx(1.0, abs=0.06)
    assert explained(np.full(len(value), 0.3), first, second, weight) == pytest.approx(0.0, abs=1e-12)
    error = 0.15 * rng.standard_normal(len(value))
    spread = np.average((value - np.average(value, weights=weight)) ** 2, weights=weight)
    assert explained(value + error, first, second, weight) == pytest.approx(1 - 0.15**2 / spread, abs=0.1)
    assert explained_returns(value, mean, weight) == pytest.approx(
        spread / np.average(mean, weights=weight) / (1 - np.average(mean, weights=weight)), abs=0.02
    )
    naive = 1 - np.var(value - first) / np.var(first)
    assert naive < 0.6, "against noisy values the true one would seem bad"


def test_explained_variance_is_floored_and_nothing_where_values_do_not_vary():
    one, w = np.array([0.0, 0.5, 1.0]), np.ones(3)
    assert explained(10 * (1 - one), one, one, w) == -1.0
    assert explained(one, np.ones(3), np.ones(3), w) == 0.0


# ------------------------------------------------------------------------------------------------------------ probes
def test_ridge_solves_its_normal_equations():
    rng = np.random.default_rng(1)
    x, y, w, asked = (
        rng.standard_normal((50, 4)),
        rng.random(50),
        rng.integers(1, 5, 50).astype(float),
        rng.random((3, 4)),
    )
    got = ridge(x, y, w, asked)
    centre, level = np.average(x, axis=0, weights=w), np.average(y, weights=w)
    for j, penalty in enumerate(PENALTIES):
        gram = (x - centre).T @ np.diag(w) @ (x - centre) + penalty * w.sum() * np.eye(4)
        beta = np.linalg.solve(gram, (x - centre).T @ (w * (y - level)))
        np.testing.assert_allclose(got[:, j], level + (asked - centre) @ beta, rtol=1e-9)


def test_states_of_a_problem_are_held_back_together():
    folds = fold_of(np.array([7, 7, 9, 30, 30, 41, 55, 7]))
    assert folds.tolist() == [0, 0, 1, 2, 2, 3, 0, 0]


@pytest.mark.parametrize("probe", [Linear(), Linear(DIMS), Network(16)])
def test_a_planted_value_is_found_on_other_problems(probe):
    rng = np.random.default_rng(2)
    x, _, weight, mean, halves, problem = planted(rng, 600)
    practice = problem < 400
    said = probe.said(Fitted(x[practice], mean[practice], weight[practice], problem[practice]), x[~practice], 1)
    assert explained(said, *halves[:, ~practice], weight[~practice]) > 0.8


def test_a_network_finds_what_no_linear_probe_can():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1500, 4))
    value = 0.5 + 0.4 * np.sign(x[:, 0] * x[:, 1])
    data = Fitted(x[:1000], value[:1000], np.ones(1000), np.arange(1000))
    ev = [
        explained(p.said(data, x[1000:], 0), value[1000:], value[1000:], np.ones(500)) for p in (Linear(), Network(32))
    ]
    assert ev[0] < 0.05
    assert ev[1] > 0.5


def test_few_components_see_the_directions_of_most_variance_alone():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((500, 6)) @ np.diag([1, 1, 1, 1, 1, 1.0])
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]  # standardised, these two make the first component
    data = Fitted(x[:400], x[:400, 0], np.ones(400), np.arange(400))
    assert np.corrcoef(Linear(1).said(data, x[400:], 0), x[400:, 0])[0, 1] > 0.98
    other = data._replace(y=x[:400, 5])
    assert abs(np.corrcoef(Linear(1).said(other, x[400:], 0) + 1e-9 * x[400:, 2], x[400:, 5])[0, 1]) < 0.4


def test_sizes_count_what_is_fitted():
    assert [p.size(10) for p in (Linear(3), Linear(30), Linear(), Network(4))] == [4, 11, 11, 49]
    model = torch.nn.Sequential(torch.nn.Linear(10, 4), torch.nn.GELU(), torch.nn.Linear(4, 1))
    assert sum(p.numel() for p in model.parameters()) == Network(4).size(10)


# --------------------------------------------------------------------------------------------------------- the table
@pytest.fixture
def world(monkeypatch, tiny):
    """Planted states in place of a model's, and a table of two of them."""

    def states(plan):
        rng = np.random.default_rng(plan.seed)
        x, _, weight, mean, (first, second), problem = planted(rng)
        return {
            "problem": problem, "prompt": np.arange(len(x)) % 5 == 0, "exam": problem >= 160, "weight": weight,
            "mean": mean, "first": first, "second": second, "hidden": x[:, None].repeat(2, axis=1),
            "parameters": np.array(10_000 * (1 + plan.settings.rung)),
        }  # fmt: skip

    monkeypatch.setattr(hidden, "states_of", states)
    return HiddenProbes(
        models=(str(tiny),) * 2, rungs=(0, 1), device="cpu", layout="explained", ranks=(2,), widths=(4,)
    )


def test_the_table_tells_every_probe(world):
    table = world.table()
    assert len(table["seed"]) == 3 * 2 * 2 * 2 * 3
    assert set(table["size"]) == {3, DIMS + 1, 4 * (DIMS + 2) + 1}
    linear = table["probe"] == "linear"
    assert np.all(table["explained"][linear & (table["states"] == "all")] > 0.6)
    assert np.all(table["returns"] < table["ceiling"] + 0.15)
    assert np.all(table["ceiling"] < 0.7), "returns are noisy"


@pytest.mark.parametrize("control", [{"features": "noise"}, {"shuffled": True}])
def test_where_nothing_can_be_known_nothing_is_explained(world, control):
    """Mean over 36 rows a kind of states; the linear probe of the real features explains more than 0.6."""
    table = replace(world, **control).table()
    assert np.all(table["explained"] < 0.12)
    for states in ("all", "prompt"):
        own = table["explained"][table["states"] == states]
        assert own.mean() < 0.02


def test_capacity_slopes_are_those_of_a_planted_plane(monkeypatch, world):
    """EV = 0.1 log N_V - 0.122 log N_pi: the exponent is 1.22."""

    def told(plan, own):
        size = np.array([p.size(16 * (1 + plan.settings.rung)) for p in own.probes()])
        ev = 0.3 + 0.1 * np.log10(size) - 0.122 * np.log10(10_000 * (1 + plan.settings.rung))
        return {"size": size, "parameters": 10_000 * (1 + plan.settings.rung), "ceiling": np.ones(2),
                "explained": np.tile(ev, (2, 2, 1)), "returns": np.tile(ev, (2, 2, 1))}  # fmt: skip

    monkeypatch.setattr(hidden, "judged", told)
    probe = Tabulated("per_policy", statistic="ratio", sums={"below": "per_critic"}, regime=("states", "layer"))
    policy = replace(world, layout="capacity")
    found = probe.measure(policy, None, Budget("quick", 1.0, 100), seed_sequence(0))
    assert np.allclose(found.columns["above"] / found.columns["below"], 1.22)
    assert found.provenance["runs"] == 3
    assert {e["engine"] for e in found.provenance["engines"].values()} == {"hf"}


def test_slopes_by_hand():
    assert slopes([0.0, 1.0, 0.5], [1, 10, 10], [1, 1, 10]) == pytest.approx((1.0, 0.5))


# ------------------------------------------------------------------------------------------------------- real states
@pytest.fixture(scope="module")
def plan(tiny_long):
    own = HiddenProbes(
        models=(str(tiny_long),), rungs=(0,), layout="explained", device="cpu", store=False, length=2, modulus=5,
        practice=10, exam=8, answers=3, again=2, layers=(0.0, 0.5, 1.0),
    )  # fmt: skip
    return own.plans(0)[0]


@pytest.fixture(scope="module")
def tiny_long(tmp_path_factory):
    """A random model with room for a worded chain."""
    from tests.bridge.tiny import make_model

    return make_model(tmp_path_factory.mktemp("long") / "model", context=256)


def test_states_are_questions_and_what_stands_after_each_step_but_the_last():
    assert prefixes("Step 1: 3\nStep 2: 5\nStep 3: 1", 3) == ["", "Step 1: 3", "Step 1: 3\nStep 2: 5"]
    assert prefixes("nothing", 3) == [""]


def test_practice_and_exam_share_no_problem(plan):
    texts = [item.to_text() for item in problems_of(plan).items]
    assert len(texts) == len(set(texts)) == 18
    with pytest.raises(InputError, match="not 9000 different chains of 2 steps modulo 5"):
        problems_of(replace(plan, practice=8900, exam=100))


def test_hidden_states_are_those_of_one_text_at_a_time(plan):
    loaded = model_of(plan.settings)
    texts = [("Add 3.", ""), ("Start with the value 1.", "Step 1: 1"), ("Add 3.", "Step 1: 2\nStep")]
    together = hidden_states(plan, texts)
    for row, (question, answer) in zip(together, texts, strict=True):
        ids = loaded.prompt(question, "auto") + loaded.answer(answer)[0]
        with torch.inference_mode():
            told = loaded.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        assert len(told) == 3
        np.testing.assert_allclose(row, [h[0, -1].numpy() for h in told], atol=1e-5)


def test_collected_states_are_whole(plan):
    found = collect(plan)
    exam = found["problem"] >= plan.practice
    assert np.array_equal(found["exam"], exam)
    assert np.isnan(found["first"][~exam]).all()
    assert np.isin(found["first"][exam], [0.0, 1.0]).all()
    prompts = found["prompt"]
    assert prompts.sum() == 18
    assert np.array_equal(found["weight"][prompts], [plan.answers] * 10 + [1] * 8)
    assert np.all((found["mean"] >= 0) & (found["mean"] <= 1))
    assert found["hidden"].shape == (len(exam), 3, 32)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"layout": "capcity"}, "capacity"),
        ({"features": "nois"}, "noise"),
        ({"rungs": (1, 1)}, "two of different sizes"),
        ({"again": 3}, "even number"),
        ({"layers": (1.5,)}, "depth from 0"),
    ],
)
def test_bad_settings_get_a_sentence(settings, says):
    with pytest.raises(InputError, match=says):
        HiddenProbes(**settings)


def test_another_engine_is_refused(tiny):
    with pytest.raises(InputError, match="need backend=hf"):
        HiddenProbes(models=(str(tiny),) * 2, rungs=(0, 1), backend="vllm").table()
