"""Families of reasoning-gym as problems, graded exactly: the full score or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from llm_bridge.tasks.answers import ASK, final_answer, plain, tagged
from llm_bridge.tasks.asked import Judged
from llm_bridge.tasks.judge import JUDGE, START_S
from rlaws.errors import InputError, suggest
from rlaws.problems import ProblemSet
from rlaws.seeding import child, word


@dataclass(frozen=True, slots=True)
class GymItem:
    """One item of a family; seed, size, knobs and index name it, so that it can be made anew where it is graded.

    Attributes:
        text: The question as the family words it.
        answer: The family's own answer.
        family: Name of the family.
        seed: Seed of the data set.
        size: Items of the data set.
        knobs: Its difficulty, as JSON.
        index: Number of the item.
    """

    text: str
    answer: str
    family: str
    seed: int
    size: int
    knobs: str
    index: int

    @property
    def question(self) -> str:
        """The question, with how the answer is to be given."""
        return f"{self.text}\n{ASK}"

    @property
    def solution(self) -> str:
        """The family's own answer in tags."""
        return tagged(self.answer)

    def read(self, text: str) -> str | None:
        """Return what stands in the answer tags: graders score the bare answer, not a sentence around it."""
        return final_answer(text, only_tagged=True)

    def judge(self, answer: str) -> Judged:
        """Tell whether the family's grader gives the full score; an answer that it cannot read is wrong."""
        place = {"family": self.family, "seed": self.seed, "size": self.size, "knobs": self.knobs, "index": self.index}
        reply = JUDGE.ask("gym", answer=answer, **place)
        return Judged(reply is not None and bool(reply["right"]), plain(answer))


@dataclass(frozen=True, slots=True)
class GymProblems:
    """Problems of several families of reasoning-gym (arXiv 2505.24760), as many of each.

    A family is refused unless its grader gives the full score to its own answers and less to garbage: some give partial
    scores to anything, some carry no answer.

    Attributes:
        families: Names of the families.
        size: Number of problems, a multiple of the number of families.
        knobs: Family -> settings of its difficulty, by the names that reasoning-gym gives them.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"families": "name", "size": "problems", "knobs": "name"}
    families: tuple[str, ...]
    size: int
    knobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.families or len(set(self.families)) < len(self.families):
            raise InputError(f"families = {self.families}: name at least one, each once.")
        if self.size < len(self.families) or self.size % len(self.families):
            raise InputError(f"size = {self.size} does not divide into {len(self.families)} families; change it.")
        for name in self.knobs:
            if name not in self.families:
                raise InputError(f"knobs.{name}: no such family here.{suggest(name, self.families)}")

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Draw the problems, family by family; they carry the number of their family as a difficulty.

        Raises:
            InputError: If a family is unknown, refuses a knob, or cannot be graded exactly.
        """
        each = self.size // len(self.families)
        items = [item for i, f in enumerate(self.families) for item in self._family(f, each, child(seed, i))]
        ids = np.array([f"{item.family}-{item.index:05d}" for item in items])
        number = np.repeat(np.arange(len(self.families), dtype=np.float64), each)
        settings = {
            "families": list(self.families),
            "size": self.size,
            "knobs": {k: dict(v) for k, v in self.knobs.items()},
        }
        return ProblemSet(ids, {"family": number}, tuple(items), settings)

    def _family(self, family: str, size: int, seed: np.random.SeedSequence) -> list[GymItem]:
        # reasoning-gym draws item i from seed + i: seeds far apart keep data sets apart
        own, knobs = word(seed) % 2**31, json.dumps(dict(self.knobs.get(family, {})), sort_keys=True)
        known = (JUDGE.ask("families", START_S) or {}).get("families", [])
        if family not in known:
            raise InputError(f"reasoning-gym has no family '{family}'.{suggest(family, known)}")
        made = JUDGE.ask("draw", START_S, family=family, seed=own, size=size, knobs=knobs)
        if made is None:
            raise InputError(f"Family '{family}' was not drawn within {START_S:g} s; ask for fewer or easier problems.")
        if "refused" in made:
            raise InputError(f"Family '{family}' refuses {knobs}: {made['refused']}.")
        if not made["exact"]:
            raise InputError(
                f"Family '{family}' cannot be graded exactly: its grader gives its own answer less than the full "
                "score, or garbage the full one. Choose another family."
            )
        both = zip(made["questions"], made["answers"], strict=True)
        return [GymItem(q, a, family, own, size, knobs, i) for i, (q, a) in enumerate(both)]
