"""Which runs reach a verdict: from what a user asks to a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.claims import Claim
from rlaws.designs.curves import Candidates, Lab, Noise, exact_table
from rlaws.designs.pilot import Pilot
from rlaws.designs.search import Goal, Plan, Search, restrict
from rlaws.designs.truth import Reference, fewest_sizes, known, pooled, truths
from rlaws.errors import InputError
from rlaws.runner import Progress
from rlaws.study import Study

ROWS = 60  # evaluations of a reference curve, evenly spaced in log steps


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks of designs.

    Attributes:
        candidates: What designs are made of.
        lab: What a run is; its noise is what is assumed.
        reference: The curves assumed where there is no pilot.
        pilot: Curves already measured, or None.
        noise: Parts of the noise given by hand: sd, rho, between.
        truth: Parameters of the law given by hand.
        readings: Readings to be supported, or None for those that decide.
        budget: FLOP, or infinity.
        goal: What a design must reach.
    """

    candidates: Candidates
    lab: Lab
    reference: Reference
    pilot: Pilot | None
    noise: Mapping[str, float]
    truth: Mapping[str, float]
    readings: Sequence[str] | None
    budget: float
    goal: Goal


def plan_designs(study: Study, request: Request, tell: Callable[[Progress], None] = lambda _: None) -> Plan:
    """Return cost and power of designs, and the cheapest that reaches the wanted power.

    Args:
        study: A study of the claim: its probe, its fits and its rule judge what is planted.
        request: What is asked.
        tell: Called after every experiment.

    Raises:
        InputError: If designs cannot serve the study, a setting is not usable, or the budget is too small.
    """
    reason = known(study)
    if reason:
        raise InputError(
            f"No design generator knows what {study.claim.id} needs: {reason}. "
            f"`rlaws plan study={study.id}` gives cost and power of the study itself."
        )
    study = replace(study, claim=restrict(study.claim, request.readings))
    family = _family(study.claim)
    pilot = None if request.pilot is None else request.pilot.of_family(family)
    lab = _lab(request, pilot, family)
    chains = request.candidates.chains(lab, subsets=pooled(study), least=fewest_sizes(study))
    source = _source(request, lab) if pilot is None else pilot.table
    worlds = truths(study, lab, source, pilot=pilot is not None, given=request.truth)
    return Search(study, lab, worlds, request.goal, tell).run(chains, request.budget)


def _family(claim: Claim) -> str | None:
    """Return the family of models that the claim's readings name, or None.

    Raises:
        InputError: If they name several: every one would need runs of its own.
    """
    asked = {str(r.where["family"]) for r in claim.readings if "family" in r.where}
    if len(asked) > 1:
        raise InputError(
            f"{claim.id} speaks of the families {', '.join(sorted(asked))}; plan one at a time with readings=[…]."
        )
    return next(iter(asked), None)


def _lab(request: Request, pilot: Pilot | None, family: str | None) -> Lab:
    """Return what a run is, with the noise and the tokens that the pilot shows and the parts given by hand."""
    lab, noise = request.lab, request.lab.noise
    if pilot is not None:
        noise = pilot.noise(lab.questions, noise.between)
        family = str(pilot.table["family"][0])
        lab = replace(lab, tokens=pilot.tokens() / lab.answers)
    parts = {name: request.noise.get(name, getattr(noise, name)) for name in ("sd", "rho", "between")}
    return replace(lab, noise=Noise(**parts), family=family or lab.family)


def _source(request: Request, lab: Lab) -> Mapping[str, NDArray[Any]]:
    """Return the reference curves of the asked sizes, over the longest run."""
    last = max(request.candidates.steps)
    steps = np.unique(np.round(np.geomspace(1, last, ROWS)).astype(np.int64))
    sizes = sorted(set(map(float, request.candidates.sizes)))
    return exact_table(request.reference.curve(lab.batch), sizes, steps, lab)
