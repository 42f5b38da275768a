"""An engine without a model: every value of a chain is drawn uniformly, one line a step, or as a script says."""

import re
from dataclasses import dataclass, field

import numpy as np

from llm_bridge.backends.base import Completion, Scored
from rlaws.problems import ChainProblem


@dataclass
class UniformEngine:
    """Writes "Step t: v" with v uniform in Z_m from stream (seed, first + i); a token is a line, the end one more."""

    asked: list = field(default_factory=list)

    def identity(self):
        return {"model": "uniform values", "engine": "test"}

    def generate(self, requests, sampling):
        self.asked += requests
        return [[self._one(r, i, sampling) for i in range(r.first, r.first + r.n)] for r in requests]

    def _one(self, request, index, sampling):
        problem = ChainProblem.from_text(request.question)
        rng = np.random.default_rng([request.seed, index])
        done = len(re.findall(r"Step \d+: \d+\n", request.prefix))
        lines = [f"Step {t}: {self.value(problem, t, rng)}" for t in range(done + 1, len(problem.operations) + 1)]
        lines = lines[:1] if "\n" in sampling.stop else lines
        return Completion("\n".join(lines), len(lines) + 1, -len(lines) * float(np.log(problem.modulus)), True)

    def value(self, problem, step, rng):
        return rng.integers(problem.modulus)

    def score(self, texts):
        out = []
        for question, answer in texts:
            m, lines = ChainProblem.from_text(question).modulus, answer.split("\n")
            flat = np.full(len(lines), np.log(m))
            out.append(Scored(tuple(lines), -flat, flat))
        return out

    def length(self, question, answer=""):
        return question.count("\n") + 1 + (answer.count("\n") + 1 if answer else 0)


@dataclass
class SkilledEngine(UniformEngine):
    """Writes the true value of each step with probability p, else a uniform other one."""

    p: float = 0.7

    def value(self, problem, step, rng):
        true = problem.states[step - 1]
        return true if rng.random() < self.p else (true + rng.integers(1, problem.modulus)) % problem.modulus


@dataclass
class ScriptedEngine(UniformEngine):
    """Says the texts of a list, sample by sample."""

    texts: tuple = ()

    def _one(self, request, index, sampling):
        text = self.texts[index % len(self.texts)]
        return Completion(text, max(1, len(text.split())), None, True)

    def length(self, question, answer=""):
        return len((question + " " + answer).split())
