"""Designs of learning curves: which sizes, how many steps, seeds and evaluations; their cost, and curves with noise.

Cost by the convention of 2N FLOP a token forward and 4N backward: a generated token costs 2N, its update 2N + 4N, so
training costs 8 N tokens; a token of an evaluation costs 2N. Sizes are in 1e9 parameters everywhere.

A run's log loss is the true curve plus three kinds of noise: AR(1) noise from step to step (``sd``, ``rho``), a
departure of the run that starts at nothing and grows with log samples until its end (``between``: runs start from one
base model), and binomial noise of the questions of each evaluation. The curve that is analysed is the mean of a size's
runs, as in the tables of learning curves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.power import ar1

Array = NDArray[np.float64]
Curve = Callable[[float, Array], Array]
"""Loss of a size (1e9 parameters) after a number of samples [E], without noise, [E]."""

BILLION = 1e9
FORWARD, BACKWARD = 2.0, 4.0  # FLOP a parameter and token
MOST_SUBSETS = 12
HIGHEST_LOSS = 1.0 - 1e-6


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of one run's log loss, beyond that of the questions.

    Attributes:
        sd: Standard deviation within a run.
        rho: Its correlation from one training step to the next.
        between: Standard deviation between runs of one size at their end.
    """

    sd: float
    rho: float
    between: float

    def __post_init__(self) -> None:
        if min(self.sd, self.rho, self.between) < 0 or self.rho >= 1:
            raise InputError(
                f"noise = {{sd: {self.sd:g}, rho: {self.rho:g}, between: {self.between:g}}}: sd and between must be at "
                "least 0, rho at least 0 and below 1."
            )


@dataclass(frozen=True, slots=True)
class Lab:
    """What a run consists of.

    Attributes:
        noise: Noise of a run.
        batch: Samples (prompts) a training step.
        answers: Answers a sample.
        tokens: Tokens an answer, its prompt included.
        questions: Questions of the evaluation set, one answer each; None for no question noise and no cost of it.
        throughput: FLOP a second that one GPU does in practice, or None where GPU-hours are not asked.
        family: Label of the models, as the claim's readings name it.
    """

    noise: Noise
    batch: int = 512
    answers: int = 8
    tokens: float = 800.0
    questions: int | None = 500
    throughput: float | None = None
    family: str = "base"

    def training(self, size: float, steps: Array | float) -> Any:
        """Return the FLOP of training steps: 8 N (samples x answers x tokens)."""
        tokens = np.asarray(steps) * self.batch * self.answers * self.tokens
        return (2 * FORWARD + BACKWARD) * size * BILLION * tokens

    def question_share(self, loss: float) -> float:
        """Return the share of a run's variance at one evaluation that its questions make, at a loss."""
        if self.questions is None:
            return 0.0
        own = (1.0 - loss) / (loss * self.questions)
        return own / (own + self.noise.sd**2)

    def evaluation(self, size: float, evaluations: int) -> float:
        """Return the FLOP of evaluations: 2 N (questions x tokens)."""
        return FORWARD * size * BILLION * evaluations * (self.questions or 0) * self.tokens


@dataclass(frozen=True, slots=True)
class Design:
    """Runs to be made.

    Attributes:
        sizes: Sizes, in 1e9 parameters, rising.
        steps: Training steps of every run.
        seeds: Runs of every size.
        evaluations: Evaluations of every run, evenly spaced, the last at its end.
        after: Share of each curve that is fitted, the rest held out; None for what the claim says.
    """

    sizes: tuple[float, ...]
    steps: int
    seeds: int
    evaluations: int
    after: float | None = None

    def at(self) -> NDArray[np.int64]:
        """Return the steps of the evaluations, [E]."""
        points = np.linspace(self.steps / self.evaluations, self.steps, self.evaluations)
        return np.unique(np.maximum(1, np.round(points).astype(np.int64)))

    def flops(self, lab: Lab) -> float:
        """Return the cost of all runs."""
        each = [lab.training(n, self.steps) + lab.evaluation(n, self.at().size) for n in self.sizes]
        return float(self.seeds * sum(each))

    def words(self) -> str:
        """Return the design in words."""
        sizes = ", ".join(f"{n:g}" for n in self.sizes)
        held = "" if self.after is None else f", the first {self.after:.0%} fitted"
        return (
            f"sizes {sizes} (1e9 parameters), {self.steps} steps, {self.seeds} seeds a size, "
            f"{self.at().size} evaluations a run{held}"
        )

    def brief(self) -> str:
        """Return the design in few words: sizes (1e9 parameters), steps x seeds, evaluations, share fitted."""
        sizes = ", ".join(f"{n:g}" for n in self.sizes)
        held = "" if self.after is None else f", {self.after:.0%} fitted"
        return f"{sizes}: {self.steps} x {self.seeds}, {self.at().size}{held}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"evaluations": int(self.at().size)}


@dataclass(frozen=True, slots=True)
class Candidates:
    """What designs are made of; see ``Design``."""

    sizes: Sequence[float]
    steps: Sequence[int]
    seeds: Sequence[int]
    evaluations: Sequence[int]
    after: Sequence[float | None] = field(default=(None,))

    def __post_init__(self) -> None:
        for name in ("sizes", "steps", "seeds", "evaluations", "after"):
            values = getattr(self, name)
            unit = " (in 1e9 parameters)" if name == "sizes" else ""
            if not values or any(v is not None and not 0 < v < np.inf for v in values):
                raise InputError(f"{name} = {list(values)}{unit} must be a list of numbers above 0.")
        if any(v is not None and v >= 1 for v in self.after):
            raise InputError(f"holdout = {list(self.after)} must be shares of a curve below 1.")

    def chains(self, lab: Lab, *, subsets: bool, least: int) -> list[list[Design]]:
        """Return the designs of each choice of sizes by rising cost; choices by falling number of sizes.

        Args:
            lab: What a run costs.
            subsets: Whether a design may leave out sizes; at most ``MOST_SUBSETS`` choices, evenly thinned.
            least: Fewest sizes of a design.

        Raises:
            InputError: If there are fewer sizes than that.
        """
        sizes = tuple(sorted(set(map(float, self.sizes))))
        if len(sizes) < least:
            raise InputError(
                f"sizes = {list(sizes)} (in 1e9 parameters): this claim needs at least {least} sizes; as many as a law "
                "has parameters fit any law."
            )
        counts = range(len(sizes), least - 1, -1) if subsets else (len(sizes),)
        choices = [c for k in counts for c in reversed(list(itertools.combinations(sizes, k)))]
        kept = np.unique(np.linspace(0, len(choices) - 1, MOST_SUBSETS).astype(int))
        return [self._chain(choices[i], lab) for i in kept]

    def _chain(self, sizes: tuple[float, ...], lab: Lab) -> list[Design]:
        parts = itertools.product(self.steps, self.seeds, self.evaluations, self.after)
        made = {Design(sizes, int(s), int(r), min(int(e), int(s)), a): None for s, r, e, a in parts}
        return sorted(made, key=lambda d: (d.flops(lab), d.evaluations))


@dataclass(frozen=True, slots=True)
class TableOf:
    """A table in memory in place of a recorded one."""

    columns: Mapping[str, NDArray[Any]]

    def table(self) -> Mapping[str, NDArray[Any]]:
        """Return the columns."""
        return self.columns


def exact_table(curve: Curve, sizes: Sequence[float], steps: NDArray[np.int64], lab: Lab) -> dict[str, NDArray[Any]]:
    """Return the table of curves without noise."""
    return _stack([(n, steps, bounded(curve(n, _samples(steps, lab)))) for n in sizes], lab)


def noisy_table(design: Design, curve: Curve, lab: Lab, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return the table of one planted experiment: mean loss of each size's runs at every evaluation.

    Args:
        design: The runs.
        curve: The true curve.
        lab: What a run is, and its noise.
        rng: Source of the noise.
    """
    steps = design.at()
    rows = []
    for n in design.sizes:
        truth = bounded(curve(n, _samples(steps, lab)))
        losses = bounded(truth * np.exp(_departures(design, lab.noise, steps, rng)))
        if lab.questions is not None:
            losses = rng.binomial(lab.questions, losses) / lab.questions
            losses = np.maximum(losses, 0.5 / lab.questions)  # a loss of 0 has no logarithm
        rows.append((n, steps, losses.mean(axis=0)))
    return _stack(rows, lab)


def _samples(steps: NDArray[np.int64], lab: Lab) -> Array:
    return np.asarray(steps * float(lab.batch), dtype=np.float64)


def bounded(losses: Array) -> Array:
    """Return losses held inside (0, 1), as 1 - pass@1 must be."""
    return np.clip(np.nan_to_num(losses, nan=HIGHEST_LOSS), 1e-9, HIGHEST_LOSS)


def _departures(design: Design, noise: Noise, steps: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Return the noise of the log loss of a size's runs, [seeds, E]."""
    progress = np.log(steps / steps[0]) / np.log(steps[-1] / steps[0]) if steps.size > 1 else np.ones(1)
    drift = noise.between * rng.standard_normal((design.seeds, 1)) * progress
    rho = noise.rho ** (design.steps / steps.size)
    return np.asarray(drift + ar1((design.seeds, steps.size), noise.sd, rho, rng))


def _stack(rows: Sequence[tuple[float, NDArray[np.int64], Array]], lab: Lab) -> dict[str, NDArray[Any]]:
    """Return the columns of a table of learning curves from (size, steps [E], losses [E])."""
    sizes = np.concatenate([np.full(steps.size, n) for n, steps, _ in rows])
    steps = np.concatenate([s for _, s, _ in rows])
    return {
        "family": np.full(steps.size, lab.family),
        "model_B": sizes,
        "step": steps,
        "samples": _samples(steps, lab),
        "cum_flops": np.asarray(lab.training(1.0, steps.astype(float)) * sizes),
        "test_loss": np.concatenate([loss for _, _, loss in rows]),
    }
