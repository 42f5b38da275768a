"""Score-function gradients of sampled answers: by the logit of each right step, and by the model's own parameters.

**Steps.** The action of step t is what is written from the end of its label "Step t: " to the end of the next label, of
the last step to the end of the answer: the value and the decision that it ends there. The right action is the value
that follows from the one shown before, and then the next label (or the end). With p its probability under the model (a
product over its tokens) and c whether it was written,

    g_t = (c_t - p_t)(R - b),

the derivative of (R - b) log pi by the logit of the right action among all actions; E[c - p] = 0 in every state. Where
a step is not there, or no value was shown from which one could follow, g_t = 0. b is the mean reward of the other
rollouts of the batch to the same problem (``rlaws.estimators.centred``).

**Parameters.** g = (R - b) times the gradient of the log-probability of an action (or of one token) by the weights of
the linear maps in the model's blocks; embeddings, norms and the head are left out. All samples of a batch share one
forward pass and one backward pass a part: a linear map y = W a has the sample's gradient sum_t dy_t a_t^T. A gradient
is projected to a few numbers as soon as it is there (``Sketch``).

An answer's tokens are those that its text is cut into; that these are the sampled ones holds for all but rare answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from llm_bridge.inside import (
    Answers,
    chains_of,
    end_token,
    following,
    label,
    longest_answer,
    model_of,
    padded,
    pieces_of,
    sample,
    sampling_of,
    spans,
    token_ends,
)
from llm_bridge.models import Loaded
from llm_bridge.settings import ModelSettings
from rlaws.errors import InputError, suggest
from rlaws.estimators import centred
from rlaws.policy import Array, GradientSketches, GradientSums
from rlaws.problems import ChainProblem, Ints, ProblemSet
from rlaws.seeding import child

if TYPE_CHECKING:
    from torch import Tensor

UNITS = ("step", "token")
SKETCH_SEED = 20_260_401
"""The projection is the same for all models of one shape, so that their sketches compare."""
GRADIENTS = 2**25
"""Most numbers of per-sample gradients that are held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientPolicy(ModelSettings):
    """A language model that tells its gradients on worded chains.

    Attributes:
        temperature: Of sampling, and of the distribution whose gradient it is; above 0.
        max_tokens: Most tokens of an answer; 0 takes what the problems need.
        shuffled: Exchange the rewards of a batch at random: the negative control.
        unit: Parts of an answer in ``gradient_sketches``: "step", or "token" counted from the end.
        blocks: How many of the last blocks' weights; 0 takes all.
        dims: Numbers that a gradient is projected to. The relative error of |E g|^2 is at most sqrt(2/dims).
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **ModelSettings.UNITS, "temperature": "1", "max_tokens": "tokens", "shuffled": "name", "unit": "name",
        "blocks": "blocks", "dims": "1",
    }  # fmt: skip
    temperature: float = 1.0
    max_tokens: int = 0
    shuffled: bool = False
    unit: str = "step"
    blocks: int = 0
    dims: int = 1024

    def __post_init__(self) -> None:
        ModelSettings.__post_init__(self)
        if self.unit not in UNITS:
            raise InputError(f"unit = '{self.unit}' is not known.{suggest(self.unit, UNITS)}")
        if not self.temperature > 0 or self.dims < 1 or min(self.blocks, self.max_tokens) < 0:
            raise InputError(
                f"temperature = {self.temperature}, dims = {self.dims}, blocks = {self.blocks}, max_tokens = "
                f"{self.max_tokens}: needed are a temperature above 0 (a policy that always says the same has no score "
                "function), dims of at least 1, and no negative number."
            )

    def gradient_sums(
        self, problems: ProblemSet, rollouts: int, batches: int, seed: np.random.SeedSequence
    ) -> GradientSums:
        """Return sums of g_t = (c_t - p_t)(R - b); rollout i of a batch is on problem i modulo their number."""
        return gradient_sums(
            self, self.temperature, problems, rollouts, batches, seed, self.max_tokens, self.shuffled
        )  # fmt: skip

    def gradient_sketches(
        self, problems: ProblemSet, rollouts: int, batches: int, seed: np.random.SeedSequence
    ) -> GradientSketches:
        """Return means over batches of the sketched parameter gradients of the parts of an answer."""
        loaded = model_of(self)
        drawn = draw(self, self.temperature, problems, rollouts, batches, seed, self.max_tokens, self.shuffled)
        rows, count = parts_of(loaded, self.template, drawn, self.unit)
        mean, square = sketched(loaded, rows, count, drawn, self)
        return GradientSketches(np.arange(count, 0, -1), mean, square, drawn.cost, f"{self.unit}s")

    def provenance(self) -> dict[str, Any]:
        """Return the engine that made the numbers."""
        return dict(self.open().identity())


def gradient_sums(
    settings: ModelSettings, temperature: float, problems: ProblemSet, rollouts: int, batches: int,
    seed: np.random.SeedSequence, max_tokens: int = 0, shuffled: bool = False,
) -> GradientSums:  # fmt: skip
    """Return sums of g_t = (c_t - p_t)(R - b) over independent batches.

    Args:
        settings: Model and engine.
        temperature: Above 0.
        problems: Worded chains of one length; rollout i of a batch is on problem i modulo their number.
        rollouts: Rollouts of a batch.
        batches: Batches.
        seed: Seed.
        max_tokens: Most tokens of an answer; 0 takes what the problems need.
        shuffled: Exchange the rewards of a batch at random: the negative control.
    """
    drawn = draw(settings, temperature, problems, rollouts, batches, seed, max_tokens, shuffled)
    written, chance = right_actions(model_of(settings), settings, drawn, temperature)
    g = (written - chance)[drawn.at] * drawn.gain[:, :, None]
    taken = np.full(batches, rollouts, dtype=np.int64)
    return GradientSums(taken, g.sum(axis=1), (g**2).sum(axis=1), drawn.hits, drawn.cost)


# --------------------------------------------------------------------------------------------------------- rollouts
class Batches(NamedTuple):
    """Independent batches of rollouts.

    Attributes:
        problems: What was asked.
        answers: The distinct answers.
        at: Answer of every rollout, [C, n].
        gain: R - b of every rollout, [C, n].
        hits: Rewarded rollouts of each batch, [C].
        cost: What sampling took.
    """

    problems: ProblemSet
    answers: Answers
    at: Ints
    gain: Array
    hits: Ints
    cost: Mapping[str, Any]

    def weights(self, power: int) -> Array:
        """Return the weight (R - b)^power of every answer in the mean of each batch, [C, U]."""
        out = np.zeros((len(self.at), len(self.answers.text)))
        batch = np.arange(len(self.at))[:, None]
        np.add.at(out, (batch, self.at), self.gain**power / self.at.shape[1])
        return out


def draw(
    settings: ModelSettings, temperature: float, problems: ProblemSet, rollouts: int, batches: int,
    seed: np.random.SeedSequence, max_tokens: int, shuffled: bool,
) -> Batches:  # fmt: skip
    """Sample batches of rollouts; see ``gradient_sums``."""
    chains, loaded = chains_of(problems), model_of(settings)
    of = np.arange(rollouts) % len(chains)
    each = batches * np.bincount(of, minlength=len(chains))
    answers = sample(settings, chains, each, sampling_of(loaded, chains, temperature, max_tokens), child(seed, 0))
    at = np.empty((batches, rollouts), dtype=np.int64)
    for i in range(min(rollouts, len(chains))):
        at[:, of == i] = answers.drawn[i].reshape(batches, -1)
    reward = answers.right[at].astype(np.float64)
    hits = reward.sum(axis=1).astype(np.int64)
    if shuffled:
        reward = np.random.default_rng(child(seed, 1)).permuted(reward, axis=1)
    cost = {"rollouts": rollouts * batches, "tokens": answers.tokens}
    return Batches(chains, answers, at, centred(reward, len(chains)), hits, cost)


# ----------------------------------------------------------------------------------------------------- right actions
class Action(NamedTuple):
    """An action in a state: tokens of question, state and action; where the action begins; whether the answer ends."""

    ids: tuple[int, ...]
    first: int
    ends: bool


def right_actions(loaded: Loaded, settings: ModelSettings, drawn: Batches, temperature: float) -> tuple[Array, Array]:
    """Return whether the right action of each step was written, and its probability, each [U, L]; 0 for no step."""
    answers, steps = drawn.answers, len(drawn.problems.items[0].operations)
    written, place = np.zeros((2, len(answers.text), steps))
    known: dict[Action, int] = {}
    prompts = [loaded.prompt(item.to_text(), settings.template) for item in drawn.problems.items]
    place = np.full(written.shape, -1)
    for u, (row, text, finished) in enumerate(zip(answers.problem, answers.text, answers.finished, strict=True)):
        for t, begin, right in right_texts(drawn.problems.items[row], text):
            last = t == steps
            rest = text[begin:]
            written[u, t - 1] = rest == right and finished if last else rest.startswith(right)
            action = action_of(loaded, prompts[row], text[:begin], right, last)
            place[u, t - 1] = known.setdefault(action, len(known))
    chance = np.append(probabilities(loaded, settings.batch, list(known), temperature), 0.0)
    return written, chance[place]


def right_texts(problem: ChainProblem, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield number, place of the action, and right action of every step of an answer that has one."""
    steps = len(problem.operations)
    where = spans(text, steps)
    for t, span in enumerate(where, 1):
        if span is None:
            continue
        before = where[t - 2] if t > 1 else None
        shown = text[before.begin : before.end] if before else ""
        value = following(problem, t, int(shown) if re.fullmatch(r"\d{1,9}", shown) else None)
        if value is not None:
            yield t, span.begin, str(value) + (label(t + 1) if t < steps else "")


def action_of(loaded: Loaded, prompt: Sequence[int], state: str, action: str, ends: bool) -> Action:
    """Return an action as tokens; a token that straddles its beginning belongs to it."""
    ids, pieces = loaded.answer(state + action)
    return Action((*prompt, *ids), len(prompt) + int(np.searchsorted(token_ends(pieces), len(state), "right")), ends)


def probabilities(loaded: Loaded, batch: int, actions: Sequence[Action], temperature: float) -> Array:
    """Return the probability of each action, [A]."""
    import torch

    ends = torch.tensor(sorted(loaded.ends), device=loaded.device)
    out = np.zeros(len(actions))
    for part in pieces_of([len(a.ids) for a in actions], batch, len(loaded.tokenizer)):
        mine = [actions[i] for i in part]
        x = padded([a.ids for a in mine], loaded.device)
        with torch.inference_mode():
            logp = log_policy(loaded.model(input_ids=x, use_cache=False).logits, temperature)
        taken = logp[:, :-1].gather(-1, x[:, 1:, None])[..., 0].double().cpu().numpy()
        ended = logp[..., ends].logsumexp(-1).double().cpu().numpy()
        for row, (i, a) in enumerate(zip(part, mine, strict=True)):
            size = len(a.ids)
            out[i] = taken[row, a.first - 1 : size - 1].sum() + (ended[row, size - 1] if a.ends else 0.0)
    return np.asarray(np.exp(out))


def log_policy(logits: Tensor, temperature: float) -> Tensor:
    """Return log pi of every token, at least in float32."""
    import torch

    wide = logits if logits.dtype == torch.float64 else logits.float()
    return (wide / temperature).log_softmax(-1)


# -------------------------------------------------------------------------------------------------------- parameters
class Row(NamedTuple):
    """Tokens of question and answer, and the part that each belongs to; -1 for none."""

    ids: list[int]
    part: list[int]


def parts_of(loaded: Loaded, template: str, drawn: Batches, unit: str) -> tuple[list[Row], int]:
    """Return every distinct answer cut into parts, and the number of parts.

    Part t of unit "step" is the action of step t + 1. Of unit "token" the last part is the answer's last token; tokens
    further from the end than those of a right answer are in no part.
    """
    answers, end = drawn.answers, [end_token(loaded)]
    steps = len(drawn.problems.items[0].operations)
    count = steps if unit == "step" else longest_answer(loaded, drawn.problems)
    rows = []
    for row, text, finished in zip(answers.problem, answers.text, answers.finished.astype(int), strict=True):
        prompt = loaded.prompt(drawn.problems.items[row].to_text(), template)
        ids, pieces = loaded.answer(text)
        if unit == "step":
            part = step_of(pieces, text, steps)
            last = max((t for t, span in enumerate(spans(text, steps)) if span), default=-1)
        else:
            part, last = np.maximum(np.arange(len(ids)) + count - len(ids) - finished, -1), count - 1
        rows.append(Row([*prompt, *ids, *end * finished], [*[-1] * len(prompt), *part.tolist(), *[last] * finished]))
    return rows, count


def step_of(pieces: Sequence[str], text: str, steps: int) -> Ints:
    """Return the step, from 0, whose action each token of an answer belongs to, [T]; -1 before the first."""
    begins = np.array([(t, s.begin) for t, s in enumerate(spans(text, steps)) if s is not None]).reshape(-1, 2)
    which = np.searchsorted(begins[:, 1], token_ends(pieces), "left") - 1
    return np.where(which >= 0, begins[which, 0] if len(begins) else -1, -1)


def linear_maps(model: Any, blocks: int = 0) -> list[Any]:
    """Return the linear maps in the last blocks of a model, in all of them for 0.

    Raises:
        InputError: If the model has no such maps or fewer blocks.
    """
    from torch import nn

    depth = model.config.get_text_config().num_hidden_layers
    stack = next((m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth), [])
    chosen = list(stack)[-blocks:]
    maps = [m for block in chosen for m in block.modules() if isinstance(m, nn.Linear)]
    if not maps or blocks > depth:
        raise InputError(f"{type(model).__name__} has {depth} blocks and {len(maps)} linear maps in those asked for.")
    return maps


def score_gradients(
    model: Any, maps: Sequence[Any], rows: Sequence[Row], count: int, temperature: float, device: str
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield, for every part and map, its number and the gradients of log pi(part) by its weights, [B, numbers].

    Raises:
        InputError: If a map does not see the samples apart, as experts of a mixture do not.
    """
    import torch

    x, part = padded([r.ids for r in rows], device), padded([[p + 1 for p in r.part] for r in rows], device) - 1
    seen: list[tuple[int, Tensor, Tensor]] = []

    def tap(number: int) -> Any:
        return lambda module, given, made: seen.append((number, given[0].detach(), made))

    hooks = [m.register_forward_hook(tap(i)) for i, m in enumerate(maps)]
    try:
        with torch.enable_grad():
            logp = log_policy(model(input_ids=x, use_cache=False).logits, temperature)
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) != len(maps) or any(a.shape[:2] != x.shape for _, a, _ in seen):
        raise InputError(f"{type(model).__name__} does not run every linear map once on every token of every sample.")
    taken = logp[:, :-1].gather(-1, x[:, 1:, None])[..., 0]
    for k in range(count):
        chosen = part[:, 1:] == k
        if chosen.any():
            by_output = torch.autograd.grad(taken[chosen].sum(), [y for *_, y in seen], retain_graph=True)
            for (i, a, _), dy in zip(seen, by_output, strict=True):
                yield k, i, torch.einsum("bto,bti->boi", dy, a).flatten(1)


class Sketch:
    """A sparse random projection of gradients to D numbers (feature hashing, a count sketch).

    Each weight is added, with a random sign, to one random number of the D. For fixed x and y the product of their
    sketches has expectation <x, y> and a variance of at most (|x|^2 |y|^2 + <x, y>^2)/D, as that of a dense projection
    (Johnson and Lindenstrauss), at one addition a weight.

    Source: Weinberger et al. 2009 (arXiv 0902.2206), lemma 2; Charikar, Chen and Farach-Colton 2002.

    Args:
        sizes: Weights of each map.
        dims: D.
        device: Where the gradients are.
        seed: Names the projection.
    """

    def __init__(self, sizes: Sequence[int], dims: int, device: str, seed: int = SKETCH_SEED) -> None:
        import torch

        stream = torch.Generator().manual_seed(seed)
        self.dims = dims
        self.bucket = [torch.randint(dims, (n,), generator=stream).to(device) for n in sizes]
        self.sign = [(2 * torch.randint(2, (n,), generator=stream) - 1).to(torch.int8).to(device) for n in sizes]

    def __call__(self, which: int, gradient: Tensor) -> Tensor:
        """Return the contribution of one map's gradients [B, numbers] to the sketches, [B, D]."""
        out = gradient.new_zeros(self.dims, len(gradient))
        return out.index_add_(0, self.bucket[which], (gradient * self.sign[which]).T).T


def sketched(
    loaded: Loaded, rows: Sequence[Row], count: int, drawn: Batches, policy: GradientPolicy
) -> tuple[Array, Array]:
    """Return means of the sketched gradients [C, K, D] and of their squared lengths [C, K]."""
    maps = linear_maps(loaded.model, policy.blocks)
    sketch = Sketch([m.weight.numel() for m in maps], policy.dims, loaded.device)
    once, twice = drawn.weights(1), drawn.weights(2)
    mean, square = np.zeros((len(once), count, policy.dims)), np.zeros((len(once), count))
    largest = max(m.weight.numel() for m in maps)
    batch = min(policy.batch, max(1, GRADIENTS // largest))
    for part in pieces_of([len(r.ids) for r in rows], batch, len(loaded.tokenizer)):
        mine = np.zeros((count, len(part), policy.dims)), np.zeros((count, len(part)))
        chosen = [rows[i] for i in part]
        for k, i, g in score_gradients(loaded.model, maps, chosen, count, policy.temperature, loaded.device):
            mine[0][k] += sketch(i, g).double().cpu().numpy()
            mine[1][k] += g.square().sum(1).double().cpu().numpy()
        mean += np.einsum("cu,kud->ckd", once[:, part], mine[0])
        square += twice[:, part] @ mine[1].T
    return mean, square
