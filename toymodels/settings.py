"""How RL is done, as flat settings: what a grid can vary, turned into the options of ``toymodels.training``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from rlaws.errors import InputError
from toymodels import ladder
from toymodels.model import Decoder
from toymodels.options import Kl, Optimiser, PolicyGradient, Replay, Reward, Training, ValueFunction
from toymodels.tasks import Verifier

RATE = 0.016
"""Learning rate of RL times the width, at every rung: 5e-4 at width 32. Of 0.008, 0.016 and 0.032 the largest at which
the loss of the smallest rung still fell throughout a pilot of 300 updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of RL; names and ranges are those of ``toymodels.options``, where each is explained.

    Attributes:
        advantage: How rewards become advantages.
        objective: "score" or "ratio".
        group: Responses of each prompt, G.
        prompts: Prompts an update, P.
        learning_rate: Of AdamW; None takes ``RATE`` / width.
        epochs: Passes over a step's data.
        minibatches: Updates a pass.
        clip_low: Clip range of the ratio.
        clip_high: See above.
        correction: Of data that another policy sampled.
        aggregation: How tokens are averaged.
        grad_clip: Largest norm of the gradient.
        token_bonus: Coefficient of the token entropy.
        semantic_bonus: Coefficient of the surprise of the answer within its group.
        kl: Coefficient of the KL penalty.
        kl_where: "loss" or "reward".
        kl_estimator: k1, k2, k3 or full.
        kl_anchor: "static" or "ema".
        kl_decay: Share of the moving average that is kept at each step.
        replay: Replayed groups for each fresh one.
        replay_capacity: Groups kept.
        critic: "none", "shared" or "separate" (advantages gae and vtrace).
        critic_parameters: Rung of a separate critic; 0 takes the policy's.
        critic_experts: Experts of a separate critic, two of which see a token; 0: dense.
        critic_rate: Learning rate of a separate critic times its width.
        critic_warmup: First updates in which only the critic learns.
        lam_policy: lambda of the advantages.
        lam_value: lambda of the critic's targets.
        reward: "outcome" or "process".
        false_positive: Of the verifier.
        false_negative: Of the verifier.
        style_bonus: What the style token adds to the false-positive rate; the task then has room for it.
        label_noise: Chance that a step's label is flipped.
        negative: What a wrong answer earns.
        shrink: Factor on negative values.
        shrink_where: "reward" or "advantage".
        shuffled: Exchange the rewards between responses at random: the negative control.
        device: Where the policy lives and is trained, as torch names it: "cpu", "cuda". Critics of their own tables and
            reward models that guide a search stay on the CPU.
        compile: Backend of torch.compile ("inductor"); empty: none. It pays on a GPU, not on a CPU at these sizes.
        precision: "float32", or "bfloat16" for the training passes.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "advantage": "name", "objective": "name", "group": "answers per prompt", "prompts": "prompts",
        "learning_rate": "1", "epochs": "passes", "minibatches": "updates", "clip_low": "1", "clip_high": "1",
        "correction": "name", "aggregation": "name", "grad_clip": "1", "token_bonus": "1", "semantic_bonus": "1",
        "kl": "1", "kl_where": "name", "kl_estimator": "name", "kl_anchor": "name", "kl_decay": "1",
        "replay": "groups per fresh group", "replay_capacity": "groups", "critic": "name",
        "critic_parameters": "parameters", "critic_experts": "experts", "critic_rate": "1",
        "critic_warmup": "updates", "lam_policy": "1", "lam_value": "1", "reward": "name", "false_positive": "1",
        "false_negative": "1", "style_bonus": "1", "label_noise": "1", "negative": "reward", "shrink": "1",
        "shrink_where": "name", "shuffled": "name", "device": "name", "compile": "name", "precision": "name",
    }  # fmt: skip
    advantage: str = "leave_one_out"
    objective: str = "score"
    group: int = 8
    prompts: int = 16
    learning_rate: float | None = None
    epochs: int = 1
    minibatches: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.2
    correction: str = "none"
    aggregation: str = "sequence_sum"
    grad_clip: float = 1.0
    token_bonus: float = 0.0
    semantic_bonus: float = 0.0
    kl: float = 0.0
    kl_where: str = "loss"
    kl_estimator: str = "k2"
    kl_anchor: str = "static"
    kl_decay: float = 0.99
    replay: float = 0.0
    replay_capacity: int = 1024
    critic: str = "none"
    critic_parameters: int = 0
    critic_experts: int = 0
    critic_rate: float = 0.064
    critic_warmup: int = 0
    lam_policy: float = 0.95
    lam_value: float = 1.0
    reward: str = "outcome"
    false_positive: float = 0.0
    false_negative: float = 0.0
    style_bonus: float = 0.0
    label_noise: float = 0.0
    negative: float = 0.0
    shrink: float = 1.0
    shrink_where: str = "advantage"
    shuffled: bool = False
    device: str = "cpu"
    compile: str = ""
    precision: str = "float32"

    def rl(self) -> dict[str, Any]:
        """Return the settings of RL by name: with the base they determine a run."""
        return {f.name: getattr(self, f.name) for f in fields(Settings)}

    def training(self, parameters: int, *, temperature: float = 1.0, measure_kl: int = 0) -> Training:
        """Return the options of training for a rung of the ladder.

        Args:
            parameters: The rung.
            temperature: Of sampling; the policy at this temperature is trained.
            measure_kl: Every how many updates the KL to the start is measured (its FLOPs count); 0 for never.

        Raises:
            InputError: If a setting is out of range, or two contradict each other.
        """
        width = ladder.config_of(parameters, self.device).width
        lr = RATE / width if self.learning_rate is None else self.learning_rate
        method = PolicyGradient(
            problems=self.prompts,
            samples=self.group,
            advantage=self.advantage,
            objective=self.objective,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            correction=self.correction,
            aggregation=self.aggregation,
            epochs=self.epochs,
            minibatches=self.minibatches,
            temperature=temperature,
            token_entropy=self.token_bonus,
            semantic_entropy=self.semantic_bonus,
            measure_kl=measure_kl,
            kl=Kl(self.kl, self.kl_where, self.kl_estimator, self.kl_anchor, self.kl_decay),
            replay=Replay(self.replay, self.replay_capacity),
            critic=self._critic(parameters),
            reward=self._reward(),
        )
        return Training(method, Optimiser(lr=lr, grad_clip=self.grad_clip), self.precision)

    def base(self, parameters: int, base_seed: int, recipe: str) -> Decoder:
        """Return a base of the ladder on the device."""
        place = {"device": self.device, "compile": self.compile, "precision": self.precision}
        return ladder.base(parameters, base_seed, recipe, **place)

    def _critic(self, parameters: int) -> ValueFunction:
        """Return the options of the critic."""
        model, width = None, ladder.config_of(parameters).width
        if self.critic_parameters or self.critic_experts:
            top_k = 2 if self.critic_experts else 0
            model = ladder.config_of(self.critic_parameters or parameters, experts=self.critic_experts, top_k=top_k)
            width = model.width
        return ValueFunction(
            kind=self.critic,
            model=model,
            lr=self.critic_rate / width,
            warmup=self.critic_warmup,
            lam_policy=self.lam_policy,
            lam_value=self.lam_value,
        )

    def _reward(self) -> Reward:
        """Return the options of the reward.

        Raises:
            InputError: If a learned reward is asked for: it needs a reward model, which no setting can name.
        """
        if self.reward not in ("outcome", "process"):
            raise InputError(f"reward = '{self.reward}' is not possible here; give outcome or process.")
        return Reward(
            source=self.reward,
            verifier=Verifier(self.false_positive, self.false_negative, self.style_bonus),
            label_noise=self.label_noise,
            negative=self.negative,
            shrink=self.shrink,
            shrink_where=self.shrink_where,
            shuffled=self.shuffled,
        )
