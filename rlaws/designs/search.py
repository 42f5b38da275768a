"""The search for the cheapest design that reaches a verdict, by planting laws and judging what is measured.

Every experiment is one table of noisy learning curves that goes through the study's own probe, its fits and its rule
(``power.judged``). Of each choice of sizes the dearest design within the budget is tried first; where even that has,
at 99 %, less than the wanted power, the choice is given up, because fewer runs of the same sizes tell no more. Else
its designs are halved by cost. A design is given up as soon as its power is, at 99 %, less than wanted, or a rival
passes for the law, at 99 % or in the end beyond the Monte Carlo error, more often than is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from time import monotonic
from typing import Any

import numpy as np

from rlaws.analysis import Analyst
from rlaws.build import build
from rlaws.claims import Claim, Form, Outcome
from rlaws.designs.curves import Design, Lab, TableOf, bounded, noisy_table
from rlaws.designs.truth import Truth
from rlaws.errors import InputError, suggest
from rlaws.power import Judged, judged
from rlaws.runner import Progress
from rlaws.seeding import generator, seed_sequence, word
from rlaws.study import Study

DRAWS = 100  # replicas of a planted experiment: the fewest that a budget may have
STARTS = 8  # of every fit of a planted experiment
SURE = 0.99  # confidence with which a design is given up
HOUR = 3600.0
WRONG_OF_LAW = (Outcome.REFUTED, Outcome.CONDITIONAL)


@dataclass(frozen=True, slots=True)
class Share:
    """A share of experiments and its Monte Carlo standard error sqrt(p (1 - p) / (n + 4)), p = (hits + 2) / (n + 4)."""

    share: float
    error: float
    simulations: int

    @staticmethod
    def of(hits: Sequence[bool]) -> Share:
        """Return the share of hits."""
        n, k = len(hits), sum(hits)
        p = (k + 2) / (n + 4)
        return Share(k / n, float(np.sqrt(p * (1 - p) / (n + 4))), n)

    def words(self) -> str:
        """Return the share in words."""
        return f"{self.share:.0%} ± {self.error:.0%} ({self.simulations})"


@dataclass(slots=True)
class Tally:
    """What the experiments of one design found.

    Attributes:
        design: The design; ``flops`` its cost.
        found: Truth -> verdicts of its experiments.
    """

    design: Design
    flops: float
    found: dict[str, list[Judged]] = field(default_factory=dict)

    def supported(self, truth: str, reading: str | None = None) -> Share:
        """Return how often the claim, or a reading of it, is supported under a truth."""
        return Share.of([_outcome(j, reading) is Outcome.SUPPORTED for j in self.found[truth]])

    def refuted(self, law: str, reading: str | None = None) -> Share:
        """Return how often the claim, or a reading, is refuted (at some regime point) though its law is true."""
        return Share.of([_outcome(j, reading) in WRONG_OF_LAW for j in self.found[law]])

    def wrong(self, others: Sequence[str]) -> tuple[str, Share] | None:
        """Return the alternative that passes for the law most often, and how often; None where none was planted."""
        rates = [(name, self.supported(name)) for name in others if self.found.get(name)]
        return max(rates, key=lambda pair: pair[1].share, default=None)


def _outcome(j: Judged, reading: str | None) -> Outcome:
    return j.outcome if reading is None else j.readings.get(reading, Outcome.INVALID)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a design must reach.

    Attributes:
        power: Least chance of "supported" where the law is true.
        wrong: Largest chance of "supported" where an alternative is true, to within its Monte Carlo error.
        simulations: Experiments of each truth for a design that is not given up.
    """

    power: float = 0.8
    wrong: float = 0.1
    simulations: int = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What designs of a claim would cost and find.

    Attributes:
        study: The study whose probe and claim are planned.
        lab: What a run is.
        budget: FLOP that a design may cost.
        goal: What is wanted.
        truths: The law, then its alternatives.
        tallies: Every design that was tried, by cost.
        chosen: The cheapest that reaches the target, or else the one that comes nearest.
        reached: Whether it does.
    """

    study: Study
    lab: Lab
    budget: float
    goal: Goal
    truths: tuple[Truth, ...]
    tallies: tuple[Tally, ...]
    chosen: Tally
    reached: bool

    @property
    def law(self) -> str:
        """Name of the law among the truths."""
        return self.truths[0].name

    def others(self) -> list[str]:
        """Return the names of the alternatives."""
        return [t.name for t in self.truths[1:]]

    def gpu_hours(self, flops: float) -> float | None:
        """Return the GPU-hours of a cost, where the throughput is known."""
        return None if self.lab.throughput is None else flops / self.lab.throughput / HOUR

    def assumed(self) -> str:
        """Return what a run is taken to be, in words."""
        lab, noise = self.lab, self.lab.noise
        questions = "no question noise" if lab.questions is None else f"{lab.questions} questions"
        return (
            f"Noise of log loss: sd {noise.sd:.3g}, rho {noise.rho:.2g} a step, between runs {noise.between:.3g}; "
            f"{questions}; {lab.batch} samples a step, {lab.answers} answers of {lab.tokens:.0f} tokens."
        )

    def sentences(self) -> list[str]:
        """Return what the plan says, in sentences."""
        said = [self._verdict()]
        if len(self.study.claim.readings) > 1:
            said += [self._reading(r.id) for r in self.study.claim.readings]
        said += self._untold()
        said += [] if self.reached else self._advice()
        problems = {j.problem for t in self.tallies for js in t.found.values() for j in js if j.problem}
        return said + [f"Some planted experiments could not be judged: {p}" for p in sorted(problems)[:2]]

    def _verdict(self) -> str:
        best = self.chosen
        told = f"{best.design.words()}: {best.flops:.3g} FLOP, power {best.supported(self.law).words()}"
        wrong = best.wrong(self.others())
        risk = f"refuted though true {best.refuted(self.law).words()}"
        risk += "" if wrong is None else f", supported though '{wrong[0]}' is true {wrong[1].words()}"
        if self.reached:
            return f"Cheapest design found with {self.goal.power:.0%} power: {told}; {risk}."
        within = f"within {self.budget:.3g} FLOP" if np.isfinite(self.budget) else "of these"
        bound = f" with at most {self.goal.wrong:.0%} wrong" if self.others() else ""
        wanted = f"{self.goal.power:.0%} power{bound}"
        return f"No design {within} reaches {wanted}. Nearest: {told}; {risk}."

    def _reading(self, reading: str) -> str:
        """Return what the nearest design says of one reading."""
        best = self.chosen.supported(self.law, reading)
        alone = best.share >= self.goal.power and not self.reached
        hint = f"; readings=[{reading}] searches for the cheapest design of it alone" if alone else ""
        return f"Reading '{reading}' is supported in {best.words()} of experiments with that design{hint}."

    def _untold(self) -> list[str]:
        """Say which rivals no design that was tried tells from the law."""
        out = []
        within = "within the budget" if np.isfinite(self.budget) else "of these"
        for reading in self.study.claim.readings:
            if not any(isinstance(p, Form) for p in reading.predictions):
                continue
            rivals = {r for t in self.tallies for j in t.found[self.law] for r in j.blind.get(reading.id, ())}
            never = [r for r in sorted(rivals) if self._never(reading.id, r)]
            if never:
                law = f"{reading.law} and {' or '.join(never)}"
                out.append(f"Reading '{reading.id}': {law} cannot be told apart by any design {within}.")
        return out

    def _advice(self) -> list[str]:
        """Say what a larger evaluation set would change, where its questions make most of the noise."""
        size = self.chosen.design.sizes[-1]
        samples = np.array([float(self.chosen.design.steps * self.lab.batch)])
        share = self.lab.question_share(float(bounded(self.truths[0].curve(size, samples))[0]))
        if share < 0.5:
            return []
        return [
            f"{share:.0%} of a run's variance from one evaluation to the next comes from its {self.lab.questions} "
            "questions: a larger evaluation set (design.questions) may tell more than a longer run."
        ]

    def _never(self, reading: str, rival: str) -> bool:
        """Tell whether no design tells a rival as often as is wanted, and all together, at ``SURE``, less often."""
        told = [[rival not in j.blind.get(reading, (rival,)) for j in t.found[self.law]] for t in self.tallies]
        every = [hit for hits in told for hit in hits]
        seldom = all(sum(hits) < self.goal.power * len(hits) for hits in told)
        return seldom and below(sum(every), len(every), self.goal.power)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "study": self.study.id,
            "claim": self.study.claim.id,
            "units": {"sizes": "1e9 parameters", "flops": "FLOP", "gpu_hours": "h"},
            "budget_flops": self.budget if np.isfinite(self.budget) else None,
            "goal": asdict(self.goal),
            "reached": self.reached,
            "chosen": self.tallies.index(self.chosen),
            "lab": asdict(self.lab),
            "truths": [{"name": t.name, "distance": t.distance, "theta": dict(t.theta)} for t in self.truths],
            "designs": [self._row(t) for t in self.tallies],
            "sentences": self.sentences(),
        }

    def _row(self, t: Tally) -> dict[str, Any]:
        readings = [r.id for r in self.study.claim.readings]
        return {
            **t.design.to_json(),
            "flops": t.flops,
            "gpu_hours": self.gpu_hours(t.flops),
            "power": _plain(t.supported(self.law)),
            "refuted_if_true": _plain(t.refuted(self.law)),
            "supported_if_rival": {n: _plain(t.supported(n)) for n in self.others() if t.found.get(n)},
            "readings": {r: _plain(t.supported(self.law, r)) for r in readings},
        }


def _plain(share: Share) -> dict[str, float]:
    return {"share": share.share, "error": share.error, "simulations": share.simulations}


def below(hits: int, n: int, share: float) -> bool:
    """Tell whether a chance of ``share`` is ruled out at ``SURE`` by hits of n (Clopper-Pearson)."""
    from scipy.special import betaincinv

    return hits < n and float(betaincinv(hits + 1, n - hits, SURE)) < share


def experiment(study: Study, lab: Lab, design: Design, truth: Truth, number: int) -> Judged:
    """Plant a truth in a design once, measure it with the study's probe and judge it.

    Args:
        study: The study.
        lab: What a run is.
        design: The runs.
        truth: What is planted.
        number: Number of the experiment; with the seed, the design and the truth it decides every draw.
    """
    words = ("design", study.id, repr(design), truth.name, number)
    table = noisy_table(design, truth.curve, lab, generator(study.seed, *words, "noise"))
    stream = seed_sequence(study.seed, *words, "fits")
    claim = _held_out(study.claim, design.after)
    try:
        probe = build({**study.probe, "runs": design.seeds}, study.allow)
        measured = probe.measure(TableOf(table), None, study.budget, stream.spawn(1)[0])
        return judged(Analyst(claim, measured, DRAWS, word(stream) % 2**32, starts=STARTS))
    except InputError as error:  # a design that this claim cannot be judged on: too few points or sizes
        return Judged(Outcome.INVALID, {}, {}, str(error))


def _held_out(claim: Claim, after: float | None) -> Claim:
    """Return the claim with another share of every curve fitted."""
    if after is None:
        return claim
    readings = tuple(
        replace(r, holdout=replace(r.holdout, after=after)) if r.holdout and not r.holdout.largest else r
        for r in claim.readings
    )
    return replace(claim, readings=readings)


class Search:
    """One search; see the module."""

    def __init__(
        self,
        study: Study,
        lab: Lab,
        truths: Sequence[Truth],
        goal: Goal,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.study, self.lab, self.truths = study, lab, tuple(truths)
        self.goal, self.tell = goal, tell
        self.tallies: dict[Design, Tally] = {}
        self.done = self.expected = 0
        self.began = monotonic()

    def run(self, chains: Sequence[Sequence[Design]], budget: float) -> Plan:
        """Return the plan.

        Args:
            chains: Designs of each choice of sizes, by rising cost.
            budget: FLOP that a design may cost.

        Raises:
            InputError: If no design is that cheap.
        """
        affordable = [[d for d in chain if d.flops(self.lab) <= budget] for chain in chains]
        if not any(affordable):
            least = min((d for chain in chains for d in chain), key=lambda d: d.flops(self.lab))
            raise InputError(
                f"budget.flops = {budget:.3g} is too small for any design: the cheapest, {least.words()}, costs "
                f"{least.flops(self.lab):.3g} FLOP. Raise it, or give smaller sizes, steps or seeds."
            )
        last = self.goal.simulations * len(self.truths)
        best: Tally | None = None
        for i, chain in enumerate(affordable):
            ceiling = np.inf if best is None else best.flops
            self.expected = self.done + 4 * (len(affordable) - i) + last
            best = self._halve([d for d in chain if d.flops(self.lab) < ceiling]) or best
        chosen = best or max(self.tallies.values(), key=self._nearness)
        for i, truth in enumerate(self.truths):  # a design that is only the nearest need not be known as well
            self._fill(chosen, truth, self.goal.simulations // (1 if best else 2 if i == 0 else 4))
        self.expected = self.done
        self._told(0.0)
        tallies = tuple(sorted(self.tallies.values(), key=lambda t: t.flops))
        return Plan(self.study, self.lab, budget, self.goal, self.truths, tallies, chosen, best is not None)

    def _nearness(self, tally: Tally) -> tuple[float, float, int, float]:
        """Return what orders designs that do not reach the goal: power, that of the readings, sizes, cost."""
        law = self.truths[0].name
        readings = [tally.supported(law, r.id).share for r in self.study.claim.readings]
        return tally.supported(law).share, float(np.mean(readings)), len(tally.design.sizes), tally.flops

    def _halve(self, chain: Sequence[Design]) -> Tally | None:
        """Return the cheapest design of a chain that reaches the target, or None if its dearest does not."""
        if not chain or not self._reaches(chain[-1]):
            return None
        low, high = 0, len(chain) - 1
        while low < high:
            middle = (low + high) // 2
            if self._reaches(chain[middle]):
                high = middle
            else:
                low = middle + 1
        return self.tallies[chain[high]]

    def _reaches(self, design: Design) -> bool:
        """Tell whether a design reaches the goal; stop as soon as that is ruled out."""
        tally = self.tallies.setdefault(design, Tally(design, design.flops(self.lab)))
        law, *others = self.truths
        if not self._often(tally, law, self.goal.power):
            return False
        return not any(self._often(tally, other, self.goal.wrong, above=True) for other in others)

    def _often(self, tally: Tally, truth: Truth, share: float, *, above: bool = False) -> bool:
        """Tell whether the claim is supported under a truth in at least a share (``above``: in more, beyond doubt)."""
        for n in range(1, self.goal.simulations + 1):
            self._fill(tally, truth, n)
            made = tally.found[truth.name]
            hits = sum(j.outcome is Outcome.SUPPORTED for j in made)
            if below(hits, len(made), share):
                return False
            if above and below(len(made) - hits, len(made), 1.0 - share):
                return True
        found = tally.supported(truth.name)
        return found.share - found.error > share if above else found.share >= share

    def _fill(self, tally: Tally, truth: Truth, count: int) -> None:
        """Make experiments until a tally has so many of a truth."""
        found = tally.found.setdefault(truth.name, [])
        while len(found) < count:
            found.append(experiment(self.study, self.lab, tally.design, truth, len(found)))
            self.done += 1
            self.expected = max(self.expected, self.done)
            self._told((monotonic() - self.began) / self.done * (self.expected - self.done))

    def _told(self, left_s: float) -> None:
        self.tell(Progress(self.study.claim.id, self.expected, self.done, 0, 0, left_s))


def restrict(claim: Claim, readings: Sequence[str] | None) -> Claim:
    """Return the claim with some of its readings only.

    Raises:
        InputError: Unknown reading.
    """
    if not readings:
        return claim
    known: Mapping[str, Any] = {r.id: r for r in claim.readings}
    for name in readings:
        if name not in known:
            raise InputError(f"{claim.id} has no reading '{name}'.{suggest(name, known)}")
    return replace(claim, readings=tuple(replace(known[n], decides=True) for n in readings))
