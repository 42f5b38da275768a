"""What a network scores on held-out problems, from samples.

A problem's samples rest on the same uniform numbers at every evaluation of a run, so that what differs along a run is
the network: the noise of pass@1, whose standard error for N samples at success p is sqrt(p (1 - p) / N), is shared and
mostly cancels in differences. Entropy and KL are exact at each position of the sampled answers, and averaged over them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llm_bridge.backends.base import Sampling
from llm_bridge.backends.decoding import decode, uniforms
from llm_bridge.models import Loaded
from llm_bridge.tasks.base import Task

ROWS = 512
"""Most rows of one pass of sampling."""
LOGITS = 2**21
"""Most logits of one pass for entropy and KL."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Sampled answers, problem by problem, R = problems x draws rows.

    Attributes:
        problem: Problem of each row, [R].
        prompts: Tokens of every problem's question.
        tokens: The answers, the end token included, 0 after it, [R, T].
        lengths: Their tokens, [R].
        texts: Without the end token, [R].
    """

    problem: NDArray[np.int64]
    prompts: list[list[int]]
    tokens: torch.Tensor
    lengths: torch.Tensor
    texts: list[str]


@dataclass(frozen=True)
class Examiner:
    """Asks networks of one kind, which share a tokenizer, the same questions.

    Attributes:
        start: The network before training: what the KL refers to.
        template: How a question is put; see ``llm_bridge.settings``.
        sampling: Temperature, and most tokens of an answer.
        seed: Of the uniform numbers.
        draws: Samples of each problem.
    """

    start: Loaded
    template: str
    sampling: Sampling
    seed: int
    draws: int
    _prompts: dict[int, list[list[int]]] = field(default_factory=dict)

    def prompts(self, task: Task) -> list[list[int]]:
        """Return the tokens of every question."""
        if id(task) not in self._prompts:
            self._prompts[id(task)] = [self.start.prompt(q, self.template) for q in task.questions]
        return self._prompts[id(task)]

    def answers(self, model: Any, task: Task) -> Answers:
        """Sample ``draws`` answers of every problem."""
        prompts, tokens = self.prompts(task), self.sampling.max_tokens
        rows = torch.arange(len(prompts)).repeat_interleave(self.draws)
        u = torch.as_tensor(uniforms(self.seed, range(len(rows)), tokens))
        parts = [self._decoded(model, prompts, rows[i : i + ROWS], u[i : i + ROWS]) for i in range(0, len(rows), ROWS)]
        drawn = torch.cat([torch.nn.functional.pad(x, (0, tokens - x.shape[1])) for x, _ in parts])
        lengths = torch.cat([x for _, x in parts])
        ended = torch.isin(drawn.gather(1, lengths[:, None] - 1)[:, 0], torch.tensor(sorted(self.start.ends)))
        said = [ids[:n].tolist() for ids, n in zip(drawn, lengths - ended.long(), strict=True)]
        texts = self.start.tokenizer.batch_decode(said, skip_special_tokens=True)
        return Answers(rows.numpy(), prompts, drawn, lengths, texts)

    def _decoded(
        self, model: Any, prompts: list[list[int]], rows: torch.Tensor, u: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return new tokens [r, t] and their number [r]."""
        device, ends = next(model.parameters()).device, torch.tensor(sorted(self.start.ends))
        several, mine = torch.unique(rows, return_inverse=True)
        limits = torch.full((len(rows),), self.sampling.max_tokens, device=device)
        asked, ends = [prompts[i] for i in several.tolist()], ends.to(device)
        out = decode(
            model, asked, mine.to(device), u.to(device), limits, self.sampling, lambda _, new: torch.isin(new, ends)
        )
        return out.tokens.cpu(), out.lengths.cpu()

    @torch.inference_mode()
    def compared(self, model: Any, answers: Answers) -> tuple[float, float]:
        """Return the mean entropy of a token and the KL of an answer to the start, in nats, at the temperature.

        KL(pi || start) of whole answers is the mean over answers of the sum over positions of the exact KL of the next
        token there: the chain rule, with less noise than the log-ratio of the sampled tokens.
        """
        entropy = divergence = 0.0
        for part in _parts(answers, int(model.config.get_text_config().vocab_size)):
            kept = torch.arange(answers.tokens.shape[1]) < answers.lengths[part, None]
            own, other = (self._log_policy(m, answers, part) for m in (model, self.start.model))
            p = own.exp()
            entropy -= float((p * own).sum(-1)[kept].double().sum())
            divergence += float((p * (own - other)).sum(-1)[kept].double().sum())
        return entropy / float(answers.lengths.sum()), divergence / len(answers.texts)

    def _log_policy(self, model: Any, answers: Answers, part: slice) -> torch.Tensor:
        """Return log-probabilities of all tokens at the answers' positions, [r, T, V]."""
        device, new = next(model.parameters()).device, answers.tokens[part]
        asked = [answers.prompts[i] for i in answers.problem[part]]
        wide = max(map(len, asked))
        mask = torch.tensor([[0] * (wide - len(ids)) + [1] * (len(ids) + new.shape[1]) for ids in asked], device=device)
        padded = torch.tensor([[0] * (wide - len(ids)) + ids for ids in asked])
        out = model(
            input_ids=torch.cat([padded, new], dim=1).to(device),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        )
        logits = out.logits[:, wide - 1 : -1].float()
        return torch.log_softmax(logits / self.sampling.temperature, dim=-1).cpu()


def _parts(answers: Answers, vocabulary: int) -> Iterator[slice]:
    """Return slices of rows whose logits fit."""
    length = max(map(len, answers.prompts)) + answers.tokens.shape[1]
    size = max(1, LOGITS // (vocabulary * length))
    yield from (slice(i, i + size) for i in range(0, len(answers.texts), size))


@dataclass(frozen=True, slots=True)
class Exams:
    """Held-out problems.

    Attributes:
        sets: "test", and others, by name.
        easy: Which of the "test" problems are the easier half, [P].
    """

    sets: Mapping[str, Task]
    easy: NDArray[np.bool_]

    def others(self) -> tuple[str, ...]:
        """Return the names of the sets beside "test"."""
        return tuple(name for name in self.sets if name != "test")

    def marks(self, model: Any, examiner: Examiner, names: Collection[str]) -> dict[str, Any]:
        """Return the loss on every set, and on "test" the entropy, the KL to the start and the length too.

        Args:
            model: A network.
            examiner: Asks it.
            names: Sets to ask, "test" among them; the loss of the others is NaN.
        """
        marks: dict[str, Any] = {f"loss_{name}": np.nan for name in self.others()}
        for name in names:
            answers = examiner.answers(model, self.sets[name])
            graded = self.sets[name].grade(answers.problem, answers.texts)
            right = graded.correct.reshape(-1, examiner.draws).mean(axis=1)
            if name == "test":
                marks |= self._of_test(right, answers, *examiner.compared(model, answers))
            else:
                marks[f"loss_{name}"] = float(1.0 - right.mean())
        return marks

    def _of_test(self, right: NDArray[np.float64], answers: Answers, entropy: float, kl: float) -> dict[str, Any]:
        return {
            "test_loss": float(1.0 - right.mean()),
            "loss_easy": float(1.0 - right[self.easy].mean()),
            "loss_hard": float(1.0 - right[~self.easy].mean()),
            "success": right,
            "entropy": entropy,
            "kl": kl,
            "test_length": float(answers.lengths.float().mean()),
        }
