"""The noise scale against enumeration: the estimator on every group of a tiny policy, the gradients on a transformer.

Statistical tests use fixed seeds and z = 4.4 (false alarm 1.1e-5).
"""

import numpy as np
import pytest
import torch

from rlaws.errors import InputError
from rlaws.seeding import seed_sequence
from tests.toy.tiny import Tree
from toymodels import advantage as adv
from toymodels import ladder
from toymodels.batches import Deck, log_policy, states_before
from toymodels.enumeration import digits, enumerate_solutions
from toymodels.ladder import VALUES
from toymodels.losses import taken
from toymodels.noise_scale import NoiseScales, Place, batch_gradients, looks, measure, moments
from toymodels.settings import Settings
from toymodels.tasks import make_task

TINY = {"sizes": (4_000,), "recipe": "tiny", "seeds": 1, "batches": 8}


def test_moments_are_unbiased_over_all_groups():
    """Groups of G = 2 of a tiny policy, all 81 enumerated: E|G|^2 and E tr Sigma of pairs of groups are exact."""
    tree = Tree(3)
    reward = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 1, 0], dtype=torch.float64)
    members, chance = tree.groups(2)
    scores = tree.scores()
    group = (adv.leave_one_out(reward[members])[..., None] * scores[members]).mean(dim=1)
    mean = chance @ group
    trace = float(chance @ group.square().sum(dim=1) - mean.square().sum())
    pairs = [(i, j) for i in range(len(group)) for j in range(len(group))]
    weight = np.array([float(chance[i] * chance[j]) for i, j in pairs])
    found = np.array([moments(group[[i, j]], 1) for i, j in pairs])
    assert weight @ found[:, 0] == pytest.approx(float(mean.square().sum()), abs=1e-12)
    assert weight @ found[:, 1] == pytest.approx(trace, rel=1e-10)
    assert torch.allclose(mean, tree.expected_estimate(adv.leave_one_out, reward, 2))


def test_moments_of_batches_speak_of_one_prompt():
    """Means of P draws of a known normal law: tr Sigma is that of one draw, whatever P."""
    rng = np.random.default_rng(0)
    prompts, batches, size = 4, 4000, 3
    h = rng.normal([0.5, 0.0, 0.0], 2.0, (batches, prompts, size)).mean(axis=1)
    found = moments(torch.from_numpy(h), prompts)
    assert found.trace == pytest.approx(12.0, abs=4.4 * 12 * np.sqrt(2 / (3 * batches)))
    assert found.squared == pytest.approx(0.25, abs=4.4 * 2 * 0.5 * 1.0 / np.sqrt(batches))


@pytest.fixture(scope="module")
def tiny():
    task = make_task(ladder.recipe_of("tiny").chains(2).draw(seed_sequence(7)), VALUES)
    return ladder.base(4_000, 0, "tiny"), task


def exact_moments(model, task):
    """Enumerate G and E|g|^2 of R grad log pi of one response without a baseline.

    Only right solutions are rewarded; each is followed by any token at the end, so m^(L-1) V sequences a problem.
    """
    weights = [x for name, x in model.named_parameters() if name != "value"]
    deck, m = Deck.of(task, torch.device("cpu")), int(task.tables.modulus[0])
    first, second = [], 0.0
    for row, truth in enumerate(task.tables.truth[:, -1]):
        leaves = digits(m, 2)
        leaves = leaves[leaves[:, -1] == truth]
        for leaf in leaves:
            for last in range(task.vocabulary.size):
                response = torch.tensor([[[*leaf, last]]])
                log_p = taken(
                    log_policy(model, states_before(model, deck, torch.tensor([row]), response), 1.0), response
                )
                g = torch.cat([x.flatten() for x in torch.autograd.grad(log_p.sum(), weights)]).double()
                chance = float(log_p.detach().double().sum().exp()) / len(task)
                first.append(chance * g)
                second += chance * float(g.square().sum())
    mean = torch.stack(first).sum(dim=0)
    return float(mean.square().sum()), second - float(mean.square().sum())


def test_gradients_have_the_exact_moments(tiny):
    """Advantage "none", one response a prompt, so that G and Sigma can be enumerated."""
    model, task = tiny
    squared, trace = exact_moments(model, task)
    options = Settings(advantage="none", group=1, prompts=1).training(4_000)
    many = batch_gradients(model, task, options, 800, seed_sequence(1)).double()
    found, draws = moments(many, 1), many.square().sum(dim=1)
    assert found.trace == pytest.approx(trace, abs=4.4 * float(draws.std()) / np.sqrt(len(many)))
    spread = 2 * np.sqrt(squared * trace / len(many)) + np.sqrt(2) * trace / len(many)  # at most, whatever the shape
    assert found.squared == pytest.approx(squared, abs=4.4 * spread)


def test_shuffled_rewards_have_noise_and_no_gradient():
    """The negative control, on a base that has learned: |G|^2 goes, and what is left is small beside tr Sigma."""
    base = (15_000, 0, "standard", 0.0, 0)
    real, null = (measure(Place(*base, Settings(shuffled=s).rl(), 12)) for s in (False, True))
    assert real["squared"] > 5 * abs(null["squared"])
    assert abs(null["squared"]) < 4.4 * float(null["trace"]) / (12 * 16)
    assert null["trace"] > 0.1 * real["trace"]


def test_a_level_is_reached_from_below_or_refused():
    rl = Settings().rl()
    start = measure(Place(4_000, 0, "tiny", 0.0, 0, rl, 2))
    reached = measure(Place(4_000, 0, "tiny", float(start["success"]) + 0.01, 256, rl, 2))
    assert start["updates"] == 0
    assert reached["success"] >= start["success"] + 0.01
    assert reached["updates"] > 0
    with pytest.raises(InputError, match=r"after 2 updates, not 0\.99; lower level"):
        measure(Place(4_000, 0, "tiny", 0.99, 2, rl, 2))
    assert looks(30) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 29, 30]


def test_rows_and_checks():
    found = NoiseScales(**TINY, level=0.05).table()  # the base is above it: both stages are the base
    assert found["stage"].tolist() == ["base", "level"]
    assert found["trace"][0] == found["trace"][1] > 0
    task = make_task(ladder.recipe_of("tiny").chains(8).draw(seed_sequence(1)), VALUES)
    assert 0 < enumerate_solutions(ladder.base(4_000, 0, "tiny"), task).success().mean() < 1
    with pytest.raises(InputError, match="rewards alone"):
        NoiseScales(kl=0.1)
    with pytest.raises(InputError, match="two batches"):
        NoiseScales(batches=1)
