"""Post-training with TRL: GRPO, RLOO and SFT, with every setting that matters handed over.

Heavy to import (TRL, transformers, torch); ``llm_bridge.training`` imports it when something has to be trained. A run
with the same job has the same numbers on a CPU with one thread: the order of the problems, the sampling, the noise of
the reward and the adapter's first weights all come from the job's seed, and what is measured in between draws from
generators of its own.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from datasets import Dataset, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers import PrinterCallback, TrainerCallback

from llm_bridge.flops import Sizes, forward_flops, rollout_flops, sizes_of, update_flops
from llm_bridge.learning import Learning
from llm_bridge.models import PLAIN_END, Loaded
from llm_bridge.rewards import Reward
from llm_bridge.tasks.base import Task
from rlaws.errors import InputError, RlawsError
from rlaws.seeding import child

SLACK = 4
"""Tokens an answer may have beyond the longest right solution."""
LORA_ALPHA = 2.0
"""Scale of a LoRA adapter, in units of its rank."""
VLLM_MEMORY = 0.3
"""Share of the GPU that vLLM takes beside the trainer."""


class Diverged(RlawsError):
    """Training stopped because its loss or its gradient is not finite."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training.

    Attributes:
        start: The network at its start, in float32, with its words; it is changed.
        task: What it is trained on, in this order; begun again, shuffled, when the problems run out.
        learning: How.
        updates: Updates of the optimiser.
        rate: Learning rate.
        seed: Seed.
        template: How a question is put; see ``llm_bridge.settings``.
        temperature: Of sampling; the policy at this temperature is trained.
        max_tokens: Most tokens of an answer; 0 for what the task needs.
    """

    start: Loaded
    task: Task
    learning: Learning
    updates: int
    rate: float
    seed: np.random.SeedSequence
    template: str = "auto"
    temperature: float = 1.0
    max_tokens: int = 0

    def limit(self) -> int:
        """Return the most tokens of an answer."""
        return self.max_tokens or limit_of(self.start, self.task)

    def prompts(self) -> list[Any]:
        """Return the question of every problem as TRL takes it: a conversation, or plain text."""
        if self.start.chats(self.template):
            return [[{"role": "user", "content": q}] for q in self.task.questions]
        return [q + PLAIN_END for q in self.task.questions]

    def completions(self) -> list[Any]:
        """Return a right answer of every problem as TRL takes it.

        Raises:
            InputError: If a problem has none.
        """
        if not all(self.task.solutions):
            raise InputError("method = sft needs a right solution of every problem, and these problems have none.")
        if self.start.chats(self.template):
            return [[{"role": "assistant", "content": answer}] for answer in self.task.solutions]
        return list(self.task.solutions)

    def lengths(self) -> list[int]:
        """Return the tokens of every prompt."""
        return [len(self.start.prompt(q, self.template)) for q in self.task.questions]

    def number(self) -> int:
        """Return the seed as TRL wants it."""
        return int(child(self.seed, 0).generate_state(1)[0]) % 2**31


@dataclass(slots=True)
class Spent:
    """What a run has cost so far; see ``llm_bridge.flops`` for how it is counted.

    Attributes:
        samples: Prompts.
        tokens_generated: Tokens of the answers.
        tokens_trained: Tokens of answers and prompts, each prompt with each of its answers.
        flops: Matrix products.
    """

    samples: int = 0
    tokens_generated: int = 0
    tokens_trained: int = 0
    flops: int = 0

    def add(self, sizes: Sizes, learning: Learning, prompts: Sequence[int], answers: Sequence[int], cpu: bool) -> None:
        """Add the answers of one round of sampling, or the solutions of one update of "sft".

        Args:
            sizes: The model's.
            learning: How it is trained.
            prompts: Tokens of the prompt of each answer.
            answers: Tokens of each answer.
            cpu: Whether it runs on a CPU, where TRL computes the logits of the prompts too.
        """
        rows, prompt, new = len(answers), max(prompts), max(answers)
        logits = prompt + new - 1 if cpu else new
        sampled = learning.method != "sft"
        self.samples += rows // learning.group
        self.tokens_generated += sampled * sum(answers)
        self.tokens_trained += learning.iterations * (sum(prompts) + sum(answers))
        self.flops += learning.iterations * update_flops(sizes, rows, prompt + new, logits)
        if sampled:
            # log-probabilities of the start, and of the sampler
            passes = (learning.kl > 0) + (learning.iterations > 1 or learning.method == "rloo")
            self.flops += rollout_flops(sizes, rows, prompt, new)
            self.flops += passes * forward_flops(sizes, rows, prompt + new, logits)


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training.

    Attributes:
        model: The network at the end.
        visits: What was measured on the way, in order.
        history: TRL's log.
        state: TRL's trainer state, as it writes it.
    """

    model: Any
    visits: list[Any]
    history: list[dict[str, Any]]
    state: Any


Visit = Callable[[int, Any, Spent], Any]


@dataclass(slots=True)
class _Watch:
    """What is looked at while TRL trains."""

    steps: frozenset[int]
    visit: Visit
    spent: Spent = field(default_factory=Spent)
    seen: list[Any] = field(default_factory=list)
    done: int = 0

    def at(self, step: int, model: Any) -> None:
        """Measure, without moving the global random numbers or the mode of the model."""
        self.done = step
        if step not in self.steps:
            return
        training = model.training
        devices = [] if next(model.parameters()).device.type == "cpu" else None
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            model.eval()
            self.seen.append(self.visit(step, model, self.spent))
            model.train(training)


class _Callback(TrainerCallback):
    def __init__(self, watch: _Watch) -> None:
        self.watch = watch

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Measure the start."""
        self.watch.at(0, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Measure after an update."""
        self.watch.at(state.global_step, model)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        """Stop where the loss or the gradient is no number.

        Raises:
            Diverged: With the update.
        """
        for name in ("loss", "grad_norm"):
            if name in (logs or {}) and not np.isfinite(float(logs[name])):
                raise Diverged(_diverged(state.global_step, f"its {name} is {logs[name]}"))


def _diverged(step: int, why: str) -> str:
    return f"Training stopped at update {step}: {why}. Give a smaller learning_rate, or a smaller grad_clip."


# ------------------------------------------------------------------------------------------------------------ train
def train(job: Callable[[], Job], visit: Visit, steps: Sequence[int]) -> Trained:
    """Train, and measure after the given updates.

    Args:
        job: Makes the job, with a fresh network: it is asked again, with fewer rows a pass, when memory runs out.
        visit: Measures: (update, network, cost so far) -> anything; 0 is the start.
        steps: Updates after which it is called.

    Raises:
        InputError: If memory does not suffice for one answer a pass, or a setting cannot be followed here.
        Diverged: If the loss or the gradient is no longer finite.
    """
    rows = 0
    while True:
        made = job()
        made.learning.check()
        every = made.learning.prompts * made.learning.group
        rows = rows or made.learning.rows or every
        watch = _Watch(frozenset(steps), visit)
        try:
            return _train(made, rows, watch)
        except RuntimeError as error:
            if "probability tensor contains" in str(error):
                raise Diverged(_diverged(watch.done + 1, "the model's probabilities are no numbers")) from error
            if not _is_memory(error):
                raise
        if rows == 1:
            raise InputError(
                f"Memory ran out at update {watch.done + 1} with one answer a pass; choose a smaller model, "
                "lora_rank=16, checkpointing=true, or a device with more memory."
            )
        rows = max(d for d in range(1, rows // 2 + 1) if every % d == 0)


def _is_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _train(job: Job, rows: int, watch: _Watch) -> Trained:
    with tempfile.TemporaryDirectory() as folder, _quiet():
        trainer = _trainer(job, rows, folder, watch)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Callback(watch))
        trainer.train()
    return Trained(trainer.model, watch.seen, list(trainer.state.log_history), trainer.state)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide progress bars, and what TRL itself asks of transformers in words that transformers has given up."""
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*checkpointing.*", FutureWarning)
            yield
    finally:
        if shown:
            enable_progress_bars()


def _trainer(job: Job, rows: int, folder: str, watch: _Watch) -> Any:
    """Return TRL's trainer of the method."""
    if job.learning.method == "sft":
        return _sft(job, rows, folder, watch)
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    grpo = job.learning.method == "grpo"
    common = {**_common(job, rows, folder), **_sampled(job)}
    config = GRPOConfig(**common, **_grpo(job.learning)) if grpo else RLOOConfig(**common, normalize_advantages=False)
    prompts, numbers = job.prompts(), _order(job, -(-job.updates // job.learning.iterations) * job.learning.prompts)
    data = Dataset.from_list([{"prompt": prompts[i], "number": int(i)} for i in numbers])
    return (GRPOTrainer if grpo else RLOOTrainer)(
        model=job.start.model,
        reward_funcs=[_reward(job, watch.spent, job.lengths())],
        args=config,
        train_dataset=data,
        processing_class=job.start.tokenizer,
        peft_config=_adapter(job.learning),
    )


def _common(job: Job, rows: int, folder: str) -> dict[str, Any]:
    """Return the arguments of every trainer."""
    learning, seed = job.learning, job.number()
    return {
        "output_dir": folder,
        "max_steps": job.updates,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": learning.prompts * learning.group // rows,
        "learning_rate": job.rate,
        "lr_scheduler_type": learning.schedule,
        "warmup_steps": learning.warmup,
        "optim": "adamw_torch",
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": learning.grad_clip,
        "gradient_checkpointing": learning.checkpointing,
        "bf16": learning.precision == "bfloat16",
        "fp16": False,
        "use_cpu": job.start.device == "cpu",
        "seed": seed,
        "data_seed": seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "save_strategy": "no",
        "eval_strategy": "no",
        "disable_tqdm": True,
        "log_level": "error",
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
    }


def _sampled(job: Job) -> dict[str, Any]:
    """Return the arguments of the trainers that sample."""
    learning = job.learning
    made: dict[str, Any] = {
        "num_generations": learning.group,
        "max_completion_length": job.limit(),
        "temperature": job.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "beta": learning.kl,
        "num_iterations": learning.iterations,
        "epsilon": learning.clip_low,
        "epsilon_high": learning.clip_high,
        "mask_truncated_completions": False,
        "disable_dropout": True,
        "shuffle_dataset": False,
    }
    if learning.sampler == "vllm":
        _needs_vllm(job)
        made |= {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": VLLM_MEMORY}
    return made


def _grpo(learning: Learning) -> dict[str, Any]:
    """Return the arguments that GRPO alone has."""
    return {
        "loss_type": learning.loss,
        "scale_rewards": learning.scale_rewards,
        "importance_sampling_level": "token",
        "vllm_importance_sampling_correction": True,
        "entropy_coef": 0.0,
    }


def _needs_vllm(job: Job) -> None:
    import importlib.util

    if importlib.util.find_spec("vllm") is None or job.start.device == "cpu":
        raise InputError("sampler = vllm needs a GPU and the extra: pip install rlaws[vllm]. Without, give sampler=hf.")


def _adapter(learning: Learning) -> Any:
    """Return peft's settings of the LoRA adapter, or None."""
    if not learning.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=learning.lora_rank,
        lora_alpha=LORA_ALPHA * learning.lora_rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


# ------------------------------------------------------------------------------------------------------------- data
def limit_of(start: Loaded, task: Task) -> int:
    """Return the most tokens that an answer may have: those of the longest right solution, and ``SLACK``."""
    if task.max_tokens:
        return task.max_tokens
    return max(len(start.answer(text)[0]) for text in task.solutions) + 1 + SLACK


def _order(job: Job, wanted: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return which problem each prompt of a run is: all in order, then all shuffled, until there are enough."""
    rng, size = np.random.default_rng(child(job.seed, 1)), len(job.task.questions)
    rounds = [np.arange(size)] + [rng.permutation(size) for _ in range(-(-wanted // size) - 1)]
    return np.concatenate(rounds)[:wanted]


def _reward(job: Job, spent: Spent, lengths: Sequence[int]) -> Callable[..., list[float]]:
    """Return the reward function, which counts what is spent too: it sees every answer once."""
    earned, sizes = Reward(job.task, job.learning, child(job.seed, 2)), sizes_of(job.start.model)
    cpu = job.start.device == "cpu"

    def outcome(
        completions: Sequence[Any], completion_ids: Sequence[Sequence[int]], number: Sequence[int], **more: Any
    ) -> list[float]:
        spent.add(sizes, job.learning, [lengths[i] for i in number], [len(ids) for ids in completion_ids], cpu)
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        return [float(r) for r in earned(number, texts)]

    outcome.__name__ = job.learning.reward
    return outcome


def _sft(job: Job, rows: int, folder: str, watch: _Watch) -> Any:
    """Return TRL's trainer on right solutions."""
    from trl import SFTConfig, SFTTrainer

    prompts, answers = job.prompts(), job.completions()
    order = _order(job, job.updates * job.learning.prompts * job.learning.group)
    data = [{"prompt": prompts[i], "completion": answers[i]} for i in order]
    config = SFTConfig(
        **_common(job, rows, folder), completion_only_loss=True, packing=False, max_length=None, shuffle_dataset=False
    )
    trainer = SFTTrainer(
        model=job.start.model,
        args=config,
        train_dataset=Dataset.from_list(data),
        processing_class=job.start.tokenizer,
        peft_config=_adapter(job.learning),
    )
    trainer.add_callback(_Counting(job, watch.spent))
    return trainer


class _Counting(TrainerCallback):
    """Counts what "sft" spends, an update at a time, by the mean problem."""

    def __init__(self, job: Job, spent: Spent) -> None:
        self.sizes, self.learning, self.spent = sizes_of(job.start.model), job.learning, spent
        self.cpu = job.start.device == "cpu"
        every = job.learning.prompts * job.learning.group
        told = [len(job.start.answer(text)[0]) + 1 for text in job.task.solutions]
        self.asked, self.told = ([round(float(np.mean(x)))] * every for x in (job.lengths(), told))

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Count one update."""
        self.spent.add(self.sizes, self.learning, self.asked, self.told, self.cpu)


def told(
    history: Sequence[Mapping[str, Any]], names: Mapping[str, str], steps: Sequence[int]
) -> dict[str, list[float]]:
    """Return columns of TRL's log as means from one evaluation to the next; NaN before the first update.

    Args:
        history: TRL's log.
        names: Column -> key of the log.
        steps: Updates of the evaluations, rising.
    """
    made: dict[str, list[float]] = {name: [] for name in names}
    for before, step in zip([-1, *steps[:-1]], steps, strict=True):
        rows = [row for row in history if before < row.get("step", -1) <= step]
        for name, key in names.items():
            values = [float(row[key]) for row in rows if row.get(key) is not None]
            made[name].append(float(np.mean(values)) if values and step > 0 else float("nan"))
    return made
