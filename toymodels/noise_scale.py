"""The critical batch of RL: the simple noise scale tr(Sigma)/|G|^2 of the policy gradient (arXiv 1812.06162, eq. 2.9).

The gradient of a batch of P prompts is the mean over prompts of their groups' gradients, each with mean G and
covariance Sigma. From M batches h_j of independent prompts both follow without bias (the two batch sizes of arXiv
1812.06162, appendix A.1, are P and M P):

    |G|^2 = (M |mean h|^2 - mean |h|^2) / (M - 1),      tr Sigma = P M / (M - 1) (mean |h|^2 - |mean h|^2).

The gradients are those that ``toymodels.training`` would follow: the same sampling, baseline and loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlaws.errors import InputError
from rlaws.seeding import child, seed_sequence
from toymodels import ladder
from toymodels.batches import Deck, log_policy, states_before
from toymodels.cache import Arrays, cached
from toymodels.critic_tables import Row, Table, seeds_of, tabulated
from toymodels.enumeration import enumerate_solutions
from toymodels.ladder import VALUES
from toymodels.model import Decoder
from toymodels.options import PolicyGradient, Training
from toymodels.policy_gradient import collect, compare, look, policy_loss
from toymodels.runs import Exams
from toymodels.settings import Settings
from toymodels.state import Demonstrations, Run, begin, policy_of
from toymodels.tasks import Task, make_task
from toymodels.training import Snapshot, train


class Moments(NamedTuple):
    """Unbiased |G|^2 and tr Sigma of one prompt's gradient."""

    squared: float
    trace: float


def moments(gradients: Tensor, prompts: int) -> Moments:
    """Return |G|^2 and tr Sigma.

    Args:
        gradients: Gradients of independent batches, [M, parameters], M >= 2.
        prompts: Prompts P of a batch.
    """
    h = gradients.double()
    batches, each, joined = len(h), float(h.square().sum(dim=1).mean()), float(h.mean(dim=0).square().sum())
    more = batches / (batches - 1)
    return Moments(more * joined - each / (batches - 1), prompts * more * (each - joined))


def batch_gradients(
    model: Decoder, task: Task, options: Training, batches: int, seed: np.random.SeedSequence
) -> Tensor:
    """Return the gradients of the RL loss on fresh batches, the model at rest, [batches, parameters].

    Args:
        model: The policy.
        task: Problems; none comes twice where there are ``batches`` times as many as a batch takes.
        options: Of training, without a critic and a KL penalty.
        batches: Batches.
        seed: Of problems and samples.
    """
    method = options.method
    assert isinstance(method, PolicyGradient)
    shown = Demonstrations(np.arange(0), task.demonstrations[:0])
    run = Run(task, Deck.of(task, model.embedding.device), options, seed, shown, None, {})
    state = begin(model, run)
    weights = [x for name, x in state.policy.named_parameters() if name != "value"]
    out = []
    for step in range(batches):
        state.step = step
        fresh = collect(run, state, method).batch
        lesson = compare(state, method, fresh, look(run, state, method, fresh))
        hidden = states_before(state.policy, run.deck, lesson.row, lesson.response)
        loss = policy_loss(method, log_policy(state.policy, hidden, method.temperature), lesson, None)
        out.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
    return torch.stack(out)


# ---------------------------------------------------------------------------------------------- points of training
@dataclass(frozen=True, slots=True)
class Place:
    """A point of the training of one base, and the gradients that are taken there.

    Attributes:
        parameters: Rung of the ladder.
        base_seed: Which base.
        recipe: Its recipe.
        level: Success on held-out problems to which the base is trained; 0: not at all.
        most: Updates within which it must get there.
        settings: ``Settings.rl()``.
        batches: Batches of gradients.
    """

    parameters: int
    base_seed: int
    recipe: str
    level: float
    most: int
    settings: Mapping[str, Any]
    batches: int


FINENESS = 1.1
"""Factor between the updates at which the success is looked at, where that is more than one update."""


def looks(most: int) -> list[int]:
    """Return the updates at which the success is looked at: 1, 2, 3, ... and then by a constant factor, up to most."""
    times = [1]
    while times[-1] < most:
        times.append(min(most, max(times[-1] + 1, round(FINENESS * times[-1]))))
    return times


def noise(place: Place) -> Arrays:
    """Return "squared" and "trace", the "success" there and the "updates" it took, from the cache or taken now."""
    return cached("noise-scale", asdict(place) | {"settings": dict(place.settings)}, partial(measure, place))


def measure(place: Place) -> Arrays:
    """Go to a point of training and take the gradients there."""
    recipe, options = ladder.recipe_of(place.recipe), Settings(**place.settings).training(place.parameters)
    policy, success, updates = reached(place, options)
    method = options.method
    assert isinstance(method, PolicyGradient)
    stream = seed_sequence(place.base_seed, "toy noise scale", place.recipe)
    fresh = recipe.chains(place.batches * method.problems).draw(child(stream, 2))
    found = moments(
        batch_gradients(policy, make_task(fresh, VALUES), options, place.batches, child(stream, 3)), method.problems
    )
    told = {**found._asdict(), "success": success, "updates": updates}
    return {name: np.array(x) for name, x in told.items()}


def reached(place: Place, options: Training) -> tuple[Decoder, float, int]:
    """Return the first policy of a run whose success is at the level, its success and its updates.

    Raises:
        InputError: If it does not get there.
    """
    recipe, exam = ladder.recipe_of(place.recipe), Exams.of(ladder.recipe_of(place.recipe)).tasks["test"]
    stream = seed_sequence(place.base_seed, "toy noise scale", place.recipe)
    policy = ladder.base(place.parameters, place.base_seed, place.recipe)
    success = float(enumerate_solutions(policy, exam).success().mean())
    if success >= place.level:
        return policy, success, 0
    assert isinstance(options.method, PolicyGradient)
    practice = make_task(recipe.chains(place.most * options.method.problems).draw(child(stream, 0)), VALUES)
    for event in train(policy, practice, options, looks(place.most), child(stream, 1)):
        if isinstance(event, Snapshot):
            policy = policy_of(event)
            success = float(enumerate_solutions(policy, exam).success().mean())
            if success >= place.level:
                return policy, success, event.step
    raise InputError(
        f"The rung of {place.parameters} parameters (base {place.base_seed}) has success {success:.2f} after "
        f"{place.most} updates, not {place.level}; lower level, or give more updates (most)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseScales(Settings):
    """The noise scale of RL on the ladder, as a table: a row a base and stage, with |G|^2 and tr Sigma of a prompt.

    The stages are "base", and "level": RL has brought the policy to the same success, whatever its size. The ratio of
    the sums over bases of ``trace`` and ``squared`` is the critical batch in prompts.

    Attributes:
        sizes: Rungs of the ladder.
        seeds: Independent bases of each at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        level: Success of the stage "level".
        most: Updates within which it must be reached.
        batches: Batches of gradients, of ``prompts`` prompts each.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **Settings.UNITS, "sizes": "parameters", "seeds": "seeds", "recipe": "name", "level": "1", "most": "updates",
        "batches": "batches", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "stage": "name", "squared": "1", "trace": "prompts", "success": "1",
        "updates": "updates",
    }  # fmt: skip
    sizes: tuple[int, ...] = (7_000, 15_000, 26_000, 58_000)
    seeds: int = 3
    recipe: str = "standard"
    level: float = 0.6
    most: int = 512
    batches: int = 96
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.sizes or self.batches < 2 or not 0 < self.level < 1 or self.most < 1:
            raise InputError(
                f"sizes = {self.sizes}, batches = {self.batches}, level = {self.level}, most = {self.most}: give "
                "sizes, two batches or more, a level in (0, 1) and at least 1 update."
            )
        if self.critic != "none" or self.kl > 0:
            raise InputError("The noise scale is that of rewards alone: give critic = none and kl = 0.")
        ladder.recipe_of(self.recipe)
        for size in self.sizes:
            self.training(size)

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        rows: list[Row] = []
        for seed in seeds_of(self.seeds, self.scale):
            for size in self.sizes:
                own = {"seed": seed, "parameters": ladder.parameters_of(size)}
                for stage, level in (("base", 0.0), ("level", self.level)):
                    place = Place(size, seed, self.recipe, level, self.most if level else 0, self.rl(), self.batches)
                    rows.append(own | {"stage": stage} | {name: float(x) for name, x in noise(place).items()})
        return tabulated(rows)

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"gradients of toy policies, recipe {self.recipe}", "origin": "trained here"}
