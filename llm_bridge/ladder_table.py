"""What the bases of the ladder can do, as a table: the family is made when the table is asked for.

Every base answers the same held-out problems by sampling, and is asked for its log-probabilities of the same held-out
solutions. A base is of use for RL if it is right often enough to be rewarded and wrong often enough to learn, if that
differs between problems, and if its answers depend on the problem at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_bridge import ladder
from llm_bridge.backends.base import Backend, Request, Sampling
from llm_bridge.corpus import Recipe, error_rates, recipe_of, shown_values, solution
from llm_bridge.settings import DTYPES, ModelSettings
from rlaws.errors import InputError, suggest
from rlaws.problems import ProblemSet, grade, read_text, true_states
from rlaws.seeding import child, seed_sequence, word

if TYPE_CHECKING:
    from llm_bridge.pretraining import Machine

Table = dict[str, NDArray[Any]]
Values = NDArray[np.float64]

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderTable:
    """Bases of the ladder in place of a policy; one that is not in the cache is trained when the table is asked for.

    Attributes:
        rungs: Rungs of the ladder.
        seeds: Independent bases of each rung.
        recipe: Recipe of the bases.
        held_out: Problems.
        samples: Answers to each, an even number.
        device: "auto", "cpu" or "cuda".
        dtype: Of matrix products in training and of the weights in sampling: "auto" for float32 on a CPU and bfloat16
            on a GPU, or one of the dtypes of a model.
        compile: Whether training runs through ``torch.compile``.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "rungs": "name", "seeds": "1", "recipe": "name", "held_out": "problems", "samples": "samples",
        "device": "name", "dtype": "name", "compile": "name",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "quantity": "name", "base": "name", "parameters": "parameters", "independent": "name", "value": "1",
    }  # fmt: skip
    rungs: tuple[str, ...] = ("0.1M", "0.3M", "1M")
    seeds: tuple[int, ...] = (0, 1, 2)
    recipe: str = "standard"
    held_out: int = 192
    samples: int = 16
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        recipe_of(self.recipe)
        for rung in self.rungs:
            ladder.shape_of(rung)
        if not (self.rungs and self.seeds) or self.held_out < 2 or self.samples < 2 or self.samples % 2:
            raise InputError(
                "The table needs rungs, seeds, at least 2 held-out problems and an even number of samples."
            )
        if self.dtype not in ("auto", *DTYPES):
            raise InputError(f"dtype = '{self.dtype}' is not known.{suggest(self.dtype, ('auto', *DTYPES))}")

    def table(self) -> Table:
        """Return a row for every base, quantity and problem, and a row with the excess loss of every base.

        Raises:
            InputError: If the cache cannot be written.
        """
        exam = Exam.of(recipe_of(self.recipe), self.held_out)
        parts = [self._rows(rung, seed, exam) for rung in self.rungs for seed in self.seeds]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"bases of the ladder, recipe {self.recipe}", "origin": "trained here"}

    def _rows(self, rung: str, seed: int, exam: Exam) -> Table:
        """Return what one base can do."""
        engine = self._engine(rung, seed)
        quantities = exam.marks(engine, self.samples, seed) | {"excess_loss": exam.excess(engine)[None]}
        sizes = [len(v) for v in quantities.values()]
        whole = [name == "excess_loss" for name in quantities]
        labels = [[str(seed)] if w else [f"problem {i}" for i in range(n)] for w, n in zip(whole, sizes, strict=True)]
        return {
            "quantity": np.repeat(list(quantities), sizes),
            "base": np.repeat([ALL if w else f"{rung}, base {seed}" for w in whole], sizes),
            "parameters": np.full(sum(sizes), float(ladder.parameters_of(rung, self.recipe))),
            "independent": np.concatenate(labels),
            "value": np.concatenate(list(quantities.values())),
        }

    def _engine(self, rung: str, seed: int) -> Backend:
        machine = self._machine()
        usual = "bfloat16" if machine.bf16 else "float32"
        where = ladder.directory(rung, seed, self.recipe, machine)
        dtype = usual if self.dtype == "auto" else self.dtype
        return ModelSettings(models=(str(where),), device=machine.device, dtype=dtype, store=False).open()

    def _machine(self) -> Machine:
        from llm_bridge.models import device_of
        from llm_bridge.pretraining import Machine

        device = device_of(self.device)
        half = self.dtype == "bfloat16" or (self.dtype == "auto" and device != "cpu")
        return Machine(device, bf16=half, compile=self.compile)


class Exam(NamedTuple):
    """Held-out problems, the same for all bases of a recipe, with one solution by the teacher to each.

    Attributes:
        recipe: Whose problems they are.
        problems: P of them.
        shown: Values of the teacher's solutions, [P, L].
    """

    recipe: Recipe
    problems: ProblemSet
    shown: NDArray[np.int64]

    @staticmethod
    def of(recipe: Recipe, size: int) -> Exam:
        """Draw the exam."""
        seed = seed_sequence(0, "ladder held out")
        problems = recipe.chains(size).draw(child(seed, 0))
        return Exam(recipe, problems, shown_values(problems, recipe, np.random.default_rng(child(seed, 1))))

    def marks(self, engine: Backend, samples: int, seed: int) -> dict[str, Values]:
        """Return pass@1, what of it is due to the problem, and its spread, each as the mean of [P] terms.

        "own_problem" is the share right minus the share that would be right for the next problem: 0 in the mean for
        answers that do not depend on the problem. "variance" is the covariance of two halves of the samples over the
        problems: that of the success probabilities, without the noise of sampling.
        """
        answers = self.answers(engine, samples, seed)
        true = true_states(self.problems)[:, -1]
        right = (answers == true[:, None]).astype(float)
        other = (answers == np.roll(true, 1)[:, None]).astype(float)
        first, second = (half.mean(axis=1) for half in np.split(right, 2, axis=1))
        together = (first - first.mean()) * (second - second.mean()) * true.size / (true.size - 1)
        return {"pass_at_1": right.mean(axis=1), "own_problem": (right - other).mean(axis=1), "variance": together}

    def answers(self, engine: Backend, samples: int, seed: int) -> NDArray[np.int64]:
        """Return the final value of every sample, [P, n]; -1 where there is none."""
        length, drawn = self.recipe.length, word(seed_sequence(seed, "ladder exam"))
        requests = [Request(item.to_text(), samples, drawn % 2**63 + i) for i, item in enumerate(self.problems.items)]
        found = engine.generate(requests, Sampling(max_tokens=4 * length))
        return np.array([[read_text(c.text, length)[-1] for c in row] for row in found])

    def excess(self, engine: Backend) -> Values:
        """Return the mean log-probability of the teacher's values under the teacher minus that under the model, nats.

        An unbiased estimate of the divergence of the model's next value from the teacher's, 0 for a perfect imitation.
        """
        whole = np.ones(self.recipe.length, dtype=bool)
        answers = [solution(values, whole) for values in self.shown]
        scored = engine.score([(p.to_text(), a) for p, a in zip(self.problems.items, answers, strict=True)])
        mine = [p for s in scored for piece, p in zip(s.pieces, s.logprobs, strict=True) if piece.isdigit()]
        return np.asarray(np.mean(self.taught()) - np.mean(mine))

    def taught(self) -> Values:
        """Return the teacher's log-probability of each value it has shown, [P, L]."""
        wrong = error_rates(self.problems, self.recipe)
        follows = grade(self.problems, np.arange(len(self.problems)), self.shown).step_correct
        return np.asarray(np.log(np.where(follows, 1.0 - wrong, wrong / (self.recipe.modulus - 1))))
