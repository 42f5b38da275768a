"""What one update does to steps that were right already: how often it makes them worse.

The probability of the right value at every right prefix is exact, one forward pass over the right solutions. A base is
trained for a few updates, and from each to the next the steps are counted whose probability was above one half and
fell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.policy import Array
from rlaws.seeding import child, seed_sequence
from toymodels import ladder
from toymodels.batches import Deck, log_policy, states_before
from toymodels.cache import Arrays, cached
from toymodels.ladder import VALUES
from toymodels.model import Decoder
from toymodels.policy import ToyPolicy
from toymodels.settings import RATE, Settings
from toymodels.state import policy_of
from toymodels.tasks import Task, make_task
from toymodels.training import Record, train

EXAM = 192
"""Fresh problems whose right steps are followed."""
RIGHT = 0.5
"""A step is right already where the right value has more than this probability."""
PROBLEMS, ROLLOUTS, BATCHES = 64, 512, 8
"""Of the measured signal-to-noise ratio: problems, rollouts of a batch (8 a problem), batches."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A few updates of a base.

    Attributes:
        parameters: Rung of the base.
        seed: Which base; also the seed of the updates.
        recipe: Its recipe.
        batch: Rollouts of an update, in groups of 8.
        updates: Updates.
        speed: Factor on the learning rate; 0 is the negative control.
        shuffled: Exchange rewards at random: the control that leaves noise alone.
    """

    parameters: int
    seed: int
    recipe: str
    batch: int
    updates: int = 8
    speed: float = 1.0
    shuffled: bool = False

    def settings(self) -> Settings:
        """Return the settings of RL: plain policy gradient."""
        rate = self.speed * RATE / ladder.config_of(self.parameters).width
        return Settings(prompts=self.batch // Settings().group, learning_rate=rate, shuffled=self.shuffled)


def drifted(plan: Drift) -> Arrays:
    """Return "right", the probability of the right step before and after each update, [updates + 1, P, L]; cached."""
    return cached("drift", asdict(plan), partial(record, plan))


def record(plan: Drift) -> Mapping[str, NDArray[Any]]:
    """Train for a few updates and look at the right steps before and after each."""
    stream, recipe = seed_sequence(plan.seed, "toy drift", plan.recipe, plan.parameters), ladder.recipe_of(plan.recipe)
    base, settings = ladder.base(plan.parameters, plan.seed, plan.recipe), plan.settings()
    task = make_task(recipe.chains(plan.updates * settings.prompts).draw(child(stream, 0)), VALUES)
    exam = make_task(recipe.chains(EXAM).draw(seed_sequence(0, "toy drift exam")), VALUES)
    events = train(base, task, settings.training(plan.parameters), range(plan.updates + 1), child(stream, 1))
    return {"right": np.stack([right_steps(policy_of(e), exam) for e in events if not isinstance(e, Record)])}


@torch.inference_mode()
def right_steps(policy: Decoder, task: Task) -> Array:
    """Return the probability of the right value after the right values before it, [P, L]."""
    deck, steps = Deck.of(task, torch.device("cpu")), int(task.tables.steps[0])
    shown = torch.from_numpy(task.demonstrations)[:, None]
    hidden = states_before(policy, deck, torch.arange(len(task)), shown)[:, 0, :steps]
    chance = log_policy(policy, hidden, 1.0).exp().gather(2, shown[:, 0, :steps, None])[..., 0]
    found: Array = chance.double().numpy()
    return found


def worse(right: Array) -> float:
    """Return the share of steps right already that an update makes worse, over all updates.

    Args:
        right: Probability of the right step before the first and after each update, [U + 1, ...].

    Raises:
        InputError: If no step is right already.
    """
    before, after = right[:-1], right[1:]
    already = before > RIGHT
    if not already.any():
        raise InputError(
            f"No step of this base has more than {RIGHT} on its right value (most: {before.max():.2f}), so none can be "
            "unlearned; take a larger rung or a longer recipe."
        )
    return float((after < before)[already].mean())


# --------------------------------------------------------------------------------------------------- signal to noise
def snr(parameters: int, seed: int, recipe: str) -> float:
    """Return the signal-to-noise ratio of one rollout's gradient, mean over the steps, from the cache or measured."""
    made = {"parameters": parameters, "seed": seed, "recipe": recipe}
    return float(cached("drift-snr", made, partial(measure_snr, parameters, seed, recipe))["snr"])


def measure_snr(parameters: int, seed: int, recipe: str) -> Mapping[str, NDArray[Any]]:
    """Measure E[g]/sd(g) of the right token's logit at every step (``ToyPolicy.gradient_sums``), mean over steps."""
    stream = seed_sequence(seed, "toy drift snr", recipe, parameters)
    policy = ToyPolicy(parameters=parameters, base_seed=seed, recipe=recipe)
    problems = ladder.recipe_of(recipe).chains(PROBLEMS).draw(child(stream, 0))
    sums = policy.gradient_sums(problems, ROLLOUTS, BATCHES, child(stream, 1))
    n = sums.n.sum()
    mean = sums.s1.sum(axis=0) / n
    return {"snr": np.mean(mean / np.sqrt(sums.s2.sum(axis=0) / n - mean**2))}
