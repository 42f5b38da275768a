"""The temperature world: K answers, one right, and how far its logit stands above the others.

On a problem the right answer stands m logits above the strongest wrong one, and the other K - 2 wrong answers, the
tail, stand a gap g below that. At temperature tau the right answer is sampled with

    p(m, tau) = 1 / (1 + e^(-m / tau) (1 + (K - 2) e^(-g / tau))),      greedily (tau = 0): right iff m > 0.

Heat lets samples leave a strongest answer that is wrong (m < 0) and lets the tail in: that is the whole trade.
Margins differ over problems, m = C^sharpening (margin + rise log C + spread Z) with Z standard normal and C the scale
of training: ``rise`` moves the mean, ``sharpening`` multiplies all logits, the gap too.
What a temperature is worth is an integral
over Z; problems are the nodes of a trapezoid rule (``MarginProblems``), which for an integrand analytic in a strip and
falling like e^(-z^2/2) is exact up to e^(-2 pi a / h), a the width of the strip, pi tau / spread here: no sampling.

Known to be right by: another rule of quadrature (``exact/temperature.py``), enumeration of votes, tau* ~ C^sharpening
exactly when ``rise`` is 0, greedy limits, and a slow twin that samples answers one by one (``slow/temperature.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.special import expit

from rlaws.policy import Array, Checkpoint
from rlaws.problems import ProblemSet, difficulty
from sim.scale import at_scales


@dataclass(frozen=True, slots=True)
class MarginProblems:
    """Problems as the nodes of a trapezoid rule for the standard normal law; they carry "z" and "weight".

    Attributes:
        nodes: Number of nodes, odd; the step is 2 reach / (nodes - 1).
        reach: Largest z; the mass beyond 8 is 1e-15.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"nodes": "problems", "reach": "1"}
    nodes: int = 8001
    reach: float = 8.0

    def __post_init__(self) -> None:
        if self.nodes < 5 or self.nodes % 2 == 0 or not 4 <= self.reach <= 30:
            raise ValueError(f"nodes = {self.nodes} must be odd and at least 5, reach = {self.reach} lie in [4, 30].")

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Return the nodes; nothing is random, so the seed is not used."""
        z = np.linspace(-self.reach, self.reach, self.nodes)
        weight = np.exp(-z * z / 2)
        ids = np.array([f"node-{i:05d}" for i in range(self.nodes)])
        return ProblemSet(
            ids, {"z": z, "weight": weight / weight.sum()}, settings={"nodes": self.nodes, "reach": self.reach}
        )


@dataclass(frozen=True, slots=True)
class NormalProblems:
    """Problems whose z are independent standard normal draws: a benchmark of finite size.

    Attributes:
        size: Number of problems.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"size": "problems"}
    size: int = 2000

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"size = {self.size} problems asked; give at least 2.")

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Draw the problems; they carry the difficulty "z"."""
        z = np.random.default_rng(seed).standard_normal(self.size)
        return ProblemSet(
            np.array([f"normal-{i:06d}" for i in range(self.size)]), {"z": z}, settings={"size": self.size}
        )


@dataclass(frozen=True, slots=True)
class TemperaturePolicy:
    """A policy that is a margin on every problem.

    Attributes:
        answers: K, at least 2.
        gap: g at C = 1, in logits; 0 makes all wrong answers alike.
        margin: Mean margin at C = 1, in logits.
        rise: What a factor e in C adds to the mean margin, in logits.
        spread: Standard deviation of the margin at C = 1, in logits; positive.
        sharpening: Exponent by which all logits grow with C.
        training: C.
        temperature: tau; 0 is greedy.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "answers": "answers", "gap": "logits", "margin": "logits", "rise": "logits", "spread": "logits",
        "sharpening": "1", "training": "C0", "temperature": "1",
    }  # fmt: skip
    answers: int = 100
    gap: float = 4.0
    margin: float = 0.0
    rise: float = 0.5
    spread: float = 2.0
    sharpening: float = 0.0
    training: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.answers < 2 or not 0 < self.spread < np.inf or not 0 < self.training < np.inf:
            raise ValueError(
                f"answers = {self.answers} (at least 2), spread = {self.spread}, training = {self.training} (positive)."
            )
        if not 0 <= self.temperature < np.inf:
            raise ValueError(f"temperature = {self.temperature} must be finite and at least 0 (0 is greedy).")
        if not 0 <= self.gap < np.inf:
            raise ValueError(f"gap = {self.gap} must be at least 0: the tail stands below the strongest.")
        for name in ("margin", "rise", "sharpening"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)} must be a finite number.")

    def margins(self, problems: ProblemSet) -> Array:
        """Return the margin on each problem, in logits, [P]."""
        mean = self.margin + self.rise * np.log(self.training)
        return np.asarray(self.training**self.sharpening * (mean + self.spread * difficulty(problems, "z")))

    def success(self, problems: ProblemSet) -> Array:
        """Return the probability of the right answer on each problem, [P]; greedy ties are broken evenly."""
        m = self.margins(problems)
        if self.temperature == 0:
            tied = 2.0 if self.gap > 0 else float(self.answers)
            return np.where(m == 0, 1.0 / tied, (m > 0).astype(float))
        return np.asarray(expit(m / self.temperature - np.log(self._wrong())))

    def strongest_wrong(self, problems: ProblemSet) -> Array:
        """Return the probability of the strongest wrong answer on each problem, [P]."""
        right = self.success(problems)
        if self.temperature == 0:
            return 1.0 - right
        return np.asarray((1.0 - right) / self._wrong())

    def _wrong(self) -> float:
        """Weight of all wrong answers in units of the strongest: 1 + (K - 2) e^(-g / tau)."""
        return float(1.0 + (self.answers - 2) * np.exp(-self.gap * self.training**self.sharpening / self.temperature))

    def at_temperature(self, temperature: float) -> TemperaturePolicy:
        """Return the same policy, sampled at another temperature."""
        return replace(self, temperature=temperature)

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Return the policy at ``times`` times its scale; training is a formula, so the seed is not used.

        Raises:
            ValueError: If the times are not positive and rising.
        """
        return at_scales(self, times)
