"""How much of the value of a state a probe can read off a language model's hidden states, as a table.

States are the questions and what stands after each step of sampled answers. A probe is fitted to the returns of the
answers through them, on practice problems, and judged on other problems against V = P(right | state), which independent
continuations from each state estimate twice over, so that the noise of returns cancels (``value_probes.explained``).
States are told apart by problem and text, and count as often as they were visited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_bridge import models
from llm_bridge.backends.base import Request
from llm_bridge.inside import model_of, padded, pieces_of, refuse_other_engines, sample, sampling_of, spans
from llm_bridge.settings import ModelSettings
from llm_bridge.value_probes import Fitted, Linear, Network, covariance, explained, explained_returns, slopes
from rlaws.cache import Arrays, cached
from rlaws.errors import InputError, suggest
from rlaws.problems import ArithmeticChain, ProblemSet, grade, read_text
from rlaws.seeding import child, seed_sequence, word

Table = dict[str, NDArray[Any]]
Row = dict[str, Any]
FEATURES = ("hidden", "noise")
SEEN = ("all", "prompt")
"""States that an explained variance speaks of."""
SHELF, LIBRARIES = "llm_bridge", ("torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenProbes(ModelSettings):
    """Value probes of several sizes on the hidden states of models of several sizes.

    Layout "capacity": a row a seed, kind of states and layer, with the slopes of EV = c0 + ``per_critic`` log N_V -
    ``per_policy`` log N_pi over all pairs of probe and model; the smallest sufficient probe then goes as N_pi to the
    per_policy/per_critic, whatever the target. Layout "explained": a row a seed, model, kind of states, layer and
    probe, with its EV against V (``explained``), its EV against returns (``returns``), and the EV that V itself has
    against returns (``ceiling``).

    N_V counts the numbers that are fitted to returns; the model below the layer serves all probes and is not counted.
    N_pi counts all weights of the model. A seed has problems and samples of its own, and of a model that is trained
    here a base of its own; a published model has one base.

    Attributes:
        layout: "capacity" or "explained".
        rungs: Which models of the family.
        seeds: How many seeds at scale 1; their number grows as the root of ``scale``.
        length: Steps of the problems.
        modulus: Their modulus.
        reset: Their share of "set" steps.
        practice: Problems whose states are fitted, at scale 1; likewise.
        exam: Problems on whose states a probe is judged, at scale 1; likewise.
        answers: Sampled answers to each practice problem; the exam's states are those of one answer to each.
        again: Continuations of each exam state, half of them for each estimate of V.
        temperature: Of sampling.
        layers: Depths in the model, from 0 (embeddings) to 1 (the state that the head reads).
        ranks: Linear probes on so many principal components; one on all directions is always there.
        widths: Networks of so many hidden units.
        features: "hidden", or "noise": random numbers in place of hidden states, a negative control.
        shuffled: Exchange the returns of the fitted states at random: another.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **ModelSettings.UNITS, "layout": "name", "rungs": "1", "seeds": "seeds", "length": "steps", "modulus": "1",
        "reset": "1", "practice": "problems", "exam": "problems", "answers": "answers per problem",
        "again": "continuations per state", "temperature": "1", "layers": "depth", "ranks": "components",
        "widths": "units", "features": "name", "shuffled": "name", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "states": "name", "layer": "depth", "per_critic": "1", "per_policy": "1", "parameters": "parameters",
        "probe": "name", "size": "parameters", "explained": "1", "returns": "1", "ceiling": "1",
    }  # fmt: skip
    layout: str = "capacity"
    rungs: tuple[int, ...] = (0, 1, 2)
    seeds: int = 3
    length: int = 4
    modulus: int = 5
    reset: float = 0.1
    practice: int = 768
    exam: int = 192
    answers: int = 2
    again: int = 8
    temperature: float = 1.0
    layers: tuple[float, ...] = (0.5, 1.0)
    ranks: tuple[int, ...] = (1, 4, 16)
    widths: tuple[int, ...] = (4, 16, 64)
    features: str = "hidden"
    shuffled: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        ModelSettings.__post_init__(self)
        for name, possible in (("layout", _ROWS), ("features", FEATURES)):
            if getattr(self, name) not in possible:
                raise InputError(
                    f"{name} = '{getattr(self, name)}' is not known.{suggest(getattr(self, name), possible)}"
                )
        if not self.rungs or (self.layout == "capacity" and len(set(self.rungs)) < 2):
            raise InputError(f"rungs = {self.rungs}: give at least one model, for capacity two of different sizes.")
        if min(self.practice, self.exam) < 8 or min(self.seeds, self.answers) < 1 or self.again < 2 or self.again % 2:
            raise InputError(
                f"practice = {self.practice}, exam = {self.exam}, answers = {self.answers}, again = {self.again}: "
                "needed are 8 problems of each kind, an answer, and an even number of continuations."
            )
        if not self.layers or not all(0 <= x <= 1 for x in self.layers):
            raise InputError(f"layers = {self.layers}: each is a depth from 0 (embeddings) to 1 (the last block).")

    def plans(self, seed: int) -> list[Plan]:
        """Return what is sampled under a seed, a plan for each model."""
        own = {f.name: getattr(self, f.name) for f in fields(ModelSettings)}
        many = {name: round(getattr(self, name) * sqrt(self.scale)) for name in ("practice", "exam")}
        same = {name: getattr(self, name) for name in ("length", "modulus", "reset", "answers", "again", "temperature")}
        plans = []
        for rung in self.rungs:
            trained_here = self.models[rung].startswith(models.LADDER)
            settings = ModelSettings(**{**own, "rung": rung, "base_seed": seed if trained_here else self.base_seed})
            plans.append(Plan(settings, seed, tuple(self.layers), **many, **same))
        return plans

    def probes(self) -> list[Linear | Network]:
        """Return the probes, smallest kinds first."""
        return [*(Linear(r) for r in self.ranks), Linear(), *(Network(w) for w in self.widths)]

    def table(self) -> Table:
        """Return the rows; what is not in the cache is sampled and fitted."""
        rows = [
            r for seed in range(max(1, round(self.seeds * sqrt(self.scale)))) for r in _ROWS[self.layout](self, seed)
        ]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are and which engines made them."""
        plans = self.plans(0)
        engines = {p.settings.model: dict(p.settings.open().identity()) for p in plans}
        return {"table": "value probes on hidden states", "origin": "sampled and fitted here", "engines": engines}


def _explained_rows(own: HiddenProbes, seed: int) -> Iterator[Row]:
    """Yield a row for each model, kind of states, layer and probe."""
    for plan in own.plans(seed):
        found = judged(plan, own)
        for (s, states), (i, layer) in ((a, b) for a in enumerate(SEEN) for b in enumerate(own.layers)):
            for k, probe in enumerate(own.probes()):
                yield {
                    "seed": seed, "parameters": int(found["parameters"]), "states": states, "layer": layer,
                    "probe": probe.name, "size": int(found["size"][k]), "explained": found["explained"][s, i, k],
                    "returns": found["returns"][s, i, k], "ceiling": found["ceiling"][s],
                }  # fmt: skip


def _capacity_rows(own: HiddenProbes, seed: int) -> Iterator[Row]:
    """Yield the slopes of EV against the two sizes for each kind of states and layer."""
    every = list(_explained_rows(own, seed))
    for states in SEEN:
        for layer in own.layers:
            mine = [r for r in every if r["states"] == states and r["layer"] == layer]
            column = {name: [r[name] for r in mine] for name in ("explained", "size", "parameters")}
            critic, policy = slopes(column["explained"], column["size"], column["parameters"])
            yield {"seed": seed, "states": states, "layer": layer, "per_critic": critic, "per_policy": policy}


_ROWS: Mapping[str, Callable[[HiddenProbes, int], Iterator[Row]]] = {
    "capacity": _capacity_rows,
    "explained": _explained_rows,
}


# ------------------------------------------------------------------------------------------------------------ states
@dataclass(frozen=True, slots=True)
class Plan:
    """States of one model under one seed; the fields are those of ``HiddenProbes``."""

    settings: ModelSettings
    seed: int
    layers: tuple[float, ...]
    practice: int
    exam: int
    length: int
    modulus: int
    reset: float
    answers: int
    again: int
    temperature: float

    def key(self) -> dict[str, Any]:
        """Return what determines the states, beside code and libraries."""
        numbers = {k: v for k, v in asdict(self).items() if k != "settings"}
        return {**numbers, "engine": dict(self.settings.open().identity())}


def problems_of(plan: Plan) -> ProblemSet:
    """Return different problems, practice first; none is in both parts."""
    family = ArithmeticChain(plan.length, plan.modulus, plan.reset, 2 * (plan.practice + plan.exam))
    drawn = family.draw(seed_sequence(plan.seed, "hidden probes", plan.length, plan.modulus, plan.reset))
    first = {item.to_text(): i for i, item in reversed(list(enumerate(drawn.items)))}
    keep = sorted(first.values())[: plan.practice + plan.exam]
    if len(keep) < plan.practice + plan.exam:
        raise InputError(
            f"There are not {plan.practice + plan.exam} different chains of {plan.length} steps modulo {plan.modulus}; "
            "ask for fewer."
        )
    difficulty = {name: values[keep] for name, values in drawn.difficulty.items()}
    return ProblemSet(drawn.ids[keep], difficulty, tuple(drawn.items[i] for i in keep))


def states_of(plan: Plan) -> Arrays:
    """Return the states of a plan, from the cache or sampled now; see ``collect``."""
    refuse_other_engines(plan.settings)
    return cached(SHELF, "hidden-states", plan.key(), partial(collect, plan), LIBRARIES)


def collect(plan: Plan) -> Arrays:
    """Sample answers, continue the exam states, and read the hidden states.

    Returns:
        ``problem``, ``prompt`` (is it a question alone), ``exam``, ``weight`` (visits) and ``mean`` (of their returns)
        of each state, [S]; ``first`` and ``second``, estimates of V from continuations, [S], NaN for practice;
        ``hidden`` [S, layers, D]; ``parameters`` of the model.
    """
    loaded, chains, stream = model_of(plan.settings), problems_of(plan), seed_sequence(plan.seed, "hidden states")
    sampling = sampling_of(loaded, chains, plan.temperature)
    each = [plan.answers] * plan.practice + [1] * plan.exam
    answers = sample(plan.settings, chains, each, sampling, child(stream, 0))
    visits = [np.bincount(drawn, minlength=len(answers.text)) for drawn in answers.drawn]
    states: dict[tuple[int, str], list[float]] = {}
    for u, (row, text) in enumerate(zip(answers.problem, answers.text, strict=True)):
        for prefix in prefixes(text, plan.length):
            count = states.setdefault((int(row), prefix), [0.0, 0.0])
            count[0] += visits[row][u]
            count[1] += visits[row][u] * answers.right[u]
    problem, text = (np.array(part) for part in zip(*states, strict=True))
    weight, total = np.array(list(states.values())).T
    exam = problem >= plan.practice
    values = np.full((2, len(problem)), np.nan)
    asked = [Request(chains.items[p].to_text(), plan.again, word(child(stream, 1 + i)) % 2**63, t)
             for i, (p, t) in enumerate(states) if p >= plan.practice]  # fmt: skip
    values[:, exam] = continued(plan, chains, problem[exam], asked, sampling)
    hidden = hidden_states(plan, [(chains.items[p].to_text(), t) for p, t in states])
    return {
        "problem": problem, "prompt": text == "", "exam": exam, "weight": weight, "mean": total / weight,
        "first": values[0], "second": values[1], "hidden": hidden,
        "parameters": np.array(sum(p.numel() for p in loaded.model.parameters())),
    }  # fmt: skip


def prefixes(text: str, steps: int) -> list[str]:
    """Return the states that an answer went through: nothing, and what stood after each step but the last."""
    return ["", *(text[: span.end] for span in spans(text, steps)[:-1] if span is not None)]


def continued(
    plan: Plan, chains: ProblemSet, problem: NDArray[np.int64], asked: Sequence[Request], sampling: Any
) -> NDArray[np.float64]:
    """Return two estimates of V of every state, each from half of its continuations, [2, S]."""
    written = plan.settings.open().generate(asked, sampling)
    shown = [
        read_text(r.prefix + c.text, plan.length) for r, several in zip(asked, written, strict=True) for c in several
    ]
    right = grade(chains, problem.repeat(plan.again), np.array(shown)).outcome
    return np.asarray(right.reshape(len(asked), 2, -1).mean(axis=2).T)


def hidden_states(plan: Plan, texts: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
    """Return the hidden states at the last token of questions with the beginnings of answers, [S, layers, D]."""
    import torch

    loaded = model_of(plan.settings)
    rows = [loaded.prompt(q, plan.settings.template) + loaded.answer(a)[0] for q, a in texts]
    config = loaded.model.config.get_text_config()
    out = np.empty((len(rows), len(plan.layers), config.hidden_size), dtype=np.float32)
    numbers = config.hidden_size * (config.num_hidden_layers + 1)
    for part in pieces_of([len(r) for r in rows], plan.settings.batch, numbers):
        last = torch.tensor([len(rows[i]) - 1 for i in part])
        x = padded([rows[i] for i in part], loaded.device)
        with torch.inference_mode():
            told = loaded.model.base_model(input_ids=x, output_hidden_states=True, use_cache=False).hidden_states
        for k, depth in enumerate(plan.layers):
            out[part, k] = told[round(depth * config.num_hidden_layers)][range(len(part)), last].float().cpu().numpy()
    return out


# ------------------------------------------------------------------------------------------------------------ probes
def judged(plan: Plan, own: HiddenProbes) -> Arrays:
    """Return what the probes explain of a plan's exam states, from the cache or fitted now; see ``fit_and_judge``."""
    refuse_other_engines(plan.settings)
    probes = own.probes()
    key = {**plan.key(), "probes": [p.name for p in probes], "features": own.features, "shuffled": own.shuffled}
    make = partial(fit_and_judge, plan, probes, own.features, own.shuffled)
    return cached(SHELF, "hidden-probes", key, make, LIBRARIES)


def fit_and_judge(plan: Plan, probes: Sequence[Linear | Network], features: str, shuffled: bool) -> Arrays:
    """Fit the probes to the practice states and judge them on the exam's.

    Returns:
        ``explained`` and ``returns`` [states, layers, probes], ``ceiling`` [states], ``size`` [probes], ``parameters``.
    """
    found, stream = states_of(plan), seed_sequence(plan.seed, "value probes")
    exam, mean = found["exam"], found["mean"]
    practice, rng = ~exam, np.random.default_rng(child(stream, 0))
    x = found["hidden"] if features == "hidden" else rng.standard_normal(found["hidden"].shape)
    y = rng.permutation(mean[practice]) if shuffled else mean[practice]
    kinds = {"all": exam, "prompt": exam & found["prompt"]}
    shape = (len(SEEN), x.shape[1], len(probes))
    out = {"explained": np.empty(shape), "returns": np.empty(shape), "ceiling": np.empty(len(SEEN))}
    for i in range(x.shape[1]):
        data = Fitted(np.asarray(x[practice, i], float), y, found["weight"][practice], found["problem"][practice])
        for k, probe in enumerate(probes):
            said = np.full(len(mean), np.nan)
            said[exam] = probe.said(data, np.asarray(x[exam, i], float), word(child(stream, 1)) % 2**63)
            for s, name in enumerate(SEEN):
                at = kinds[name]
                weight = found["weight"][at]
                out["explained"][s, i, k] = explained(said[at], found["first"][at], found["second"][at], weight)
                out["returns"][s, i, k] = explained_returns(said[at], mean[at], weight)
    for s, name in enumerate(SEEN):
        at = kinds[name]
        rate = np.average(mean[at], weights=found["weight"][at])
        out["ceiling"][s] = covariance(found["first"][at], found["second"][at], found["weight"][at]) / (
            rate * (1 - rate)
        )
    size = np.array([probe.size(x.shape[2]) for probe in probes])
    return {**out, "size": size, "parameters": found["parameters"]}
