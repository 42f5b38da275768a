"""How a language model is trained, as flat settings that a grid can vary (``llm_bridge.trainers`` does it with TRL)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from rlaws.errors import InputError, suggest

METHODS = ("grpo", "rloo", "sft")
LOSSES = ("grpo", "dapo", "bnpo", "dr_grpo")
SCALES = ("group", "batch", "none")
SCHEDULES = ("constant", "linear", "cosine")
REWARDS = ("outcome", "process")
SAMPLERS = ("hf", "vllm")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Learning:
    """Settings of post-training; every one is handed to TRL, none is left to its defaults.

    Attributes:
        method: "grpo", "rloo", or "sft" on right solutions.
        group: Answers of each prompt, G.
        prompts: Prompts an update, P; of "sft": P * G solutions, so that all methods see as many answers an update.
        learning_rate: Of AdamW without weight decay; None takes ``llm_bridge.training.RATE`` / width.
        schedule: "constant", "linear" (to 0) or "cosine".
        warmup: First updates in which the rate rises from 0.
        kl: Coefficient of the KL penalty to the start (TRL's beta): in the loss with its k3 estimator under "grpo", in
            the reward under "rloo".
        loss: How "grpo" averages tokens; TRL's loss_type.
        scale_rewards: By what "grpo" divides advantages: the deviation of the group, of the batch, or nothing. "rloo"
            divides by nothing.
        iterations: Updates on the same answers (TRL's num_iterations).
        clip_low: Clip range of the ratio, 1 - clip_low to 1 + clip_high.
        clip_high: See above.
        grad_clip: Largest norm of the gradient.
        lora_rank: Train a LoRA adapter of this rank (peft) on all linear layers but the head; 0 trains all weights.
        rows: Answers in one pass; an update adds the gradients of several passes. 0 takes all at once. Halved when
            memory runs out.
        sampler: Of the answers: "hf", or "vllm" beside the trainer on one GPU.
        precision: Of activations: "float32", or "bfloat16" over weights in float32.
        checkpointing: Keep fewer activations and compute them again, for models that do not fit otherwise.
        reward: "outcome", or "process": the share of right steps.
        false_positive: Chance that a wrong outcome is rewarded.
        false_negative: Chance that a right outcome is not.
        shuffled: Exchange the rewards of an update between its answers at random: the negative control.
    """

    LEARNING_UNITS: ClassVar[Mapping[str, str]] = {
        "method": "name", "group": "answers per prompt", "prompts": "prompts", "learning_rate": "1",
        "schedule": "name", "warmup": "updates", "kl": "1", "loss": "name", "scale_rewards": "name",
        "iterations": "updates", "clip_low": "1", "clip_high": "1", "grad_clip": "1", "lora_rank": "1",
        "rows": "answers", "sampler": "name", "precision": "name", "checkpointing": "name", "reward": "name",
        "false_positive": "1", "false_negative": "1", "shuffled": "name",
    }  # fmt: skip
    method: str = "grpo"
    group: int = 8
    prompts: int = 16
    learning_rate: float | None = None
    schedule: str = "constant"
    warmup: int = 0
    kl: float = 0.0
    loss: str = "grpo"
    scale_rewards: str = "group"
    iterations: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.2
    grad_clip: float = 1.0
    lora_rank: int = 0
    rows: int = 0
    sampler: str = "hf"
    precision: str = "float32"
    checkpointing: bool = False
    reward: str = "outcome"
    false_positive: float = 0.0
    false_negative: float = 0.0
    shuffled: bool = False

    def check(self) -> None:
        """Refuse settings that no trainer can follow.

        Raises:
            InputError: With the setting and what is possible.
        """
        if self.method == "ppo":
            raise InputError(
                "method = 'ppo': TRL no longer has a PPO trainer (1.12 was the last with one); "
                f"possible: {', '.join(METHODS)}. Small transformers have one: policy=toy_critic_runs."
            )
        for name, possible in (
            ("method", METHODS), ("loss", LOSSES), ("scale_rewards", SCALES), ("schedule", SCHEDULES),
            ("reward", REWARDS), ("sampler", SAMPLERS), ("precision", PRECISIONS),
        ):  # fmt: skip
            if getattr(self, name) not in possible:
                raise InputError(
                    f"{name} = '{getattr(self, name)}' is not known.{suggest(getattr(self, name), possible)}"
                )
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.group < 2 or min(self.prompts, self.iterations) < 1 or min(self.warmup, self.lora_rank, self.rows) < 0:
            raise InputError(
                f"group = {self.group}, prompts = {self.prompts}, iterations = {self.iterations}: needed are groups of "
                "at least 2 answers, 1 prompt and 1 iteration; warmup, lora_rank and rows are at least 0."
            )
        if self.rows and (self.prompts * self.group) % self.rows:
            raise InputError(
                f"rows = {self.rows} does not divide the {self.prompts * self.group} answers of an update "
                f"(prompts * group); give one of {[d for d in _divisors(self.prompts * self.group) if d > 1]}."
            )
        rate = self.learning_rate
        if (rate is not None and not rate >= 0) or self.kl < 0 or not self.grad_clip > 0:
            raise InputError(
                f"learning_rate = {rate}, kl = {self.kl}, grad_clip = {self.grad_clip}: rate and kl are at least 0, "
                "grad_clip is above 0."
            )
        if not (0 <= self.false_positive <= 1 and 0 <= self.false_negative <= 1):
            raise InputError("false_positive and false_negative are chances in [0, 1].")
        if not (0 < self.clip_low < 1 and self.clip_high > 0):
            raise InputError("clip_low lies in (0, 1) and clip_high is above 0.")

    def learning(self) -> dict[str, Any]:
        """Return the settings of post-training by name: with the start and the problems they determine a run."""
        return {f.name: getattr(self, f.name) for f in fields(Learning)}


def learning_of(policy: Any) -> Learning:
    """Return the settings of post-training that a policy carries, and the defaults for those it does not."""
    made = Learning(**{f.name: getattr(policy, f.name) for f in fields(Learning) if hasattr(policy, f.name)})
    made.check()
    return made


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
