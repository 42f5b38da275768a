"""Options of training: values that are checked when they are made; the loop reads them and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, inf, pi

from rlaws.errors import InputError, suggest
from toymodels.config import Config
from toymodels.losses import AGGREGATIONS, KL_ESTIMATORS
from toymodels.tasks import Verifier

OUTCOME_ADVANTAGES = ("none", "running_mean", "leave_one_out", "group_mean", "group_standardised")
CRITIC_ADVANTAGES = ("gae", "vtrace")
REWARDS = ("outcome", "process", "learned_outcome", "learned_process")


def _one_of(name: str, value: str, possible: tuple[str, ...]) -> None:
    if value not in possible:
        raise InputError(f"{name} = '{value}' is not possible." + suggest(value, possible))


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{name} = {value} is out of range; give {low} <= {name} <= {high}.")


@dataclass(frozen=True, slots=True)
class Optimiser:
    """AdamW and its learning rate.

    Attributes:
        lr: Peak learning rate; 0 changes nothing.
        schedule: "constant", or "cosine" down to ``final`` times lr at step ``horizon``.
        warmup: Steps of linear rise from lr/warmup.
        horizon: Step at which the cosine ends; needed for "cosine".
        final: Last share of lr, in [0, 1].
        weight_decay: AdamW's decoupled decay, times lr a step.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
        grad_clip: Largest norm of the gradient; infinity for none.
    """

    lr: float
    schedule: str = "constant"
    warmup: int = 0
    horizon: int = 0
    final: float = 0.1
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        _one_of("schedule", self.schedule, ("constant", "cosine"))
        for name, high in (("lr", 10.0), ("warmup", inf), ("final", 1.0), ("weight_decay", 10.0)):
            _between(name, getattr(self, name), 0, high)
        _between("beta1", self.beta1, 0, 1 - 1e-6)
        _between("beta2", self.beta2, 0, 1 - 1e-6)
        if self.schedule == "cosine" and self.horizon <= self.warmup:
            raise InputError(f"horizon = {self.horizon}: a cosine schedule needs a horizon beyond warmup.")
        if not (self.grad_clip > 0 and self.eps > 0):
            raise InputError(f"grad_clip = {self.grad_clip}, eps = {self.eps}: both must be positive.")

    def share(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0, as a share of the peak."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        done = min(1.0, (step - self.warmup) / (self.horizon - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + cos(pi * done))


@dataclass(frozen=True, slots=True)
class Sft:
    """Supervised training on demonstrations: the mean of -log pi over their tokens.

    Attributes:
        batch: Demonstrations a step.
    """

    batch: int

    def __post_init__(self) -> None:
        _between("batch", self.batch, 1, inf)


@dataclass(frozen=True, slots=True)
class Kl:
    """A penalty on the distance to an anchor.

    Attributes:
        coefficient: beta; 0 for none.
        where: "loss" adds beta times the estimate to the loss; "reward" takes beta k1 off the reward of every token,
            which alone has the whole gradient of the KL of sequences (see ``toymodels.losses``).
        estimator: "k1", "k2", "k3" or "full", for "loss". k1 has no gradient on average, k3 that of the other KL.
        anchor: "static" is the policy at the start, "ema" its exponential moving average.
        decay: Share of the average that is kept at each step, for "ema".
    """

    coefficient: float = 0.0
    where: str = "loss"
    estimator: str = "k2"
    anchor: str = "static"
    decay: float = 0.99

    def __post_init__(self) -> None:
        _between("coefficient", self.coefficient, 0, inf)
        _one_of("where", self.where, ("loss", "reward"))
        _one_of("estimator", self.estimator, (*KL_ESTIMATORS, "full"))
        _one_of("anchor", self.anchor, ("static", "ema"))
        _between("decay", self.decay, 0, 1)


@dataclass(frozen=True, slots=True)
class Replay:
    """Training on groups of earlier steps beside fresh ones; rewards are kept as they were given.

    Attributes:
        ratio: Replayed groups for each fresh group; 0 for none.
        capacity: Groups kept; the oldest go first.
    """

    ratio: float = 0.0
    capacity: int = 1024

    def __post_init__(self) -> None:
        _between("ratio", self.ratio, 0, 1000)
        _between("capacity", self.capacity, 1, inf)


@dataclass(frozen=True, slots=True)
class ValueFunction:
    """A value function, for advantages "gae" and "vtrace".

    Attributes:
        kind: "none"; "shared": a second head on the policy's backbone; "separate": its own model, of the ``model``
            given, dense or a mixture of experts.
        model: Shape of a separate critic; None takes the policy's.
        lr: Learning rate of a separate critic.
        coefficient: Weight of the value loss beside the policy loss, for "shared".
        warmup: First steps in which only the critic learns (value pre-training).
        gamma: Discount.
        lam_policy: lambda of the advantages.
        lam_value: lambda of the critic's targets; 1 is the reward to go.
        rho_max: Truncation of V-trace's weights.
        c_max: Truncation of V-trace's traces.
    """

    kind: str = "none"
    model: Config | None = None
    lr: float = 1e-3
    coefficient: float = 0.5
    warmup: int = 0
    gamma: float = 1.0
    lam_policy: float = 0.95
    lam_value: float = 1.0
    rho_max: float = 1.0
    c_max: float = 1.0

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, ("none", "shared", "separate"))
        for name in ("gamma", "lam_policy", "lam_value"):
            _between(name, getattr(self, name), 0, 1)
        for name in ("lr", "coefficient", "warmup"):
            _between(name, getattr(self, name), 0, inf)
        if self.model is not None and self.kind != "separate":
            raise InputError(f"A critic of kind '{self.kind}' takes no model of its own; use kind = separate.")


@dataclass(frozen=True, slots=True)
class Reward:
    """What is rewarded.

    Attributes:
        source: "outcome": the verifier's word at the last token; "process": 1/L for each step that follows from the
            one before, at its token; "learned_outcome", "learned_process": scores of a reward model, likewise.
        verifier: Errors of the outcome check.
        label_noise: q, the chance that a step's label is flipped, for "process".
        negative: What a wrong answer earns; the right one earns 1. At -1 the rewards are symmetric.
        shrink: Factor on negative values, in [0, 1].
        shrink_where: "reward" or "advantage".
        shuffled: Exchange the rewards between all responses of a step at random: the negative control.
    """

    source: str = "outcome"
    verifier: Verifier = field(default_factory=Verifier)
    label_noise: float = 0.0
    negative: float = 0.0
    shrink: float = 1.0
    shrink_where: str = "advantage"
    shuffled: bool = False

    def __post_init__(self) -> None:
        _one_of("source", self.source, REWARDS)
        _one_of("shrink_where", self.shrink_where, ("reward", "advantage"))
        _between("label_noise", self.label_noise, 0, 1)
        _between("shrink", self.shrink, 0, 1)
        _between("negative", self.negative, -inf, 1)

    @property
    def by_step(self) -> bool:
        """Whether every step is rewarded, not only the end."""
        return self.source in ("process", "learned_process")

    @property
    def learned(self) -> bool:
        """Whether a reward model scores the responses."""
        return self.source.startswith("learned")


@dataclass(frozen=True, slots=True)
class PolicyGradient:
    """Reinforcement learning from sampled responses.

    Attributes:
        problems: Problems a step, P.
        samples: Responses of each, G.
        advantage: "none", "running_mean", "leave_one_out", "group_mean", "group_standardised" (see
            ``toymodels.advantage``), "gae" or "vtrace" (with a critic).
        objective: "score" is -w A log pi; "ratio" is the clipped ratio of PPO and GRPO.
        clip_low: Lower clip range of the ratio; 1 never clips.
        clip_high: Upper clip range; infinity never clips.
        correction: Of data that another policy sampled, for "score": "none", or "sequence", the importance weight of
            the whole response. For "ratio": "none" sets the ratio to the policy before this step, "sequence" is
            replaced by the ratio to the policy that sampled (the usual PPO).
        most: Truncation of the sequence weight.
        aggregation: "token_mean", "sequence_mean" or "sequence_sum" (see ``toymodels.losses``).
        epochs: Passes over a step's data.
        minibatches: Updates a pass; groups stay whole.
        temperature: Of sampling; the policy that is trained is the one at this temperature.
        token_entropy: Coefficient of the mean token entropy in the objective (its gradient at the sampled states).
        semantic_entropy: Coefficient of -log(share of the group with the same answer) in the reward.
        mean_rate: Rate of the running mean baseline.
        measure_kl: Every how many steps the KL to the policy at the start is measured; 0 for never.
        kl: Penalty.
        replay: Use of earlier groups.
        critic: Value function.
        reward: What is rewarded.
    """

    problems: int
    samples: int
    advantage: str = "leave_one_out"
    objective: str = "score"
    clip_low: float = 0.2
    clip_high: float = 0.2
    correction: str = "none"
    most: float = inf
    aggregation: str = "sequence_sum"
    epochs: int = 1
    minibatches: int = 1
    temperature: float = 1.0
    token_entropy: float = 0.0
    semantic_entropy: float = 0.0
    mean_rate: float = 0.1
    measure_kl: int = 1
    kl: Kl = field(default_factory=Kl)
    replay: Replay = field(default_factory=Replay)
    critic: ValueFunction = field(default_factory=ValueFunction)
    reward: Reward = field(default_factory=Reward)

    def __post_init__(self) -> None:
        _one_of("advantage", self.advantage, (*OUTCOME_ADVANTAGES, *CRITIC_ADVANTAGES))
        _one_of("objective", self.objective, ("score", "ratio"))
        _one_of("correction", self.correction, ("none", "sequence"))
        _one_of("aggregation", self.aggregation, tuple(AGGREGATIONS))
        for name in ("problems", "samples", "epochs", "minibatches"):
            _between(name, getattr(self, name), 1, inf)
        for name in ("clip_low", "mean_rate"):
            _between(name, getattr(self, name), 0, 1)
        for name in ("clip_high", "token_entropy", "semantic_entropy", "measure_kl"):
            _between(name, getattr(self, name), 0, inf)
        if not (self.temperature > 0 and self.most > 0):
            raise InputError(f"temperature = {self.temperature}, most = {self.most}: both must be positive.")
        self._check_together()

    @property
    def by_token(self) -> bool:
        """Whether rewards come before the last token, so that advantages differ between tokens."""
        return self.reward.by_step or (self.kl.where == "reward" and self.kl.coefficient > 0)

    def _check_together(self) -> None:
        """Refuse options that contradict each other."""
        by_critic = self.advantage in CRITIC_ADVANTAGES
        if by_critic != (self.critic.kind != "none"):
            raise InputError(
                f"advantage = '{self.advantage}' with critic.kind = '{self.critic.kind}': "
                f"{' and '.join(CRITIC_ADVANTAGES)} need a critic, and no other advantage uses one."
            )
        if self.advantage == "vtrace" and (self.objective != "score" or self.correction != "none"):
            raise InputError(
                f"advantage = 'vtrace' with objective = '{self.objective}' and correction = '{self.correction}': "
                "V-trace has its own importance weights; use objective = score and correction = none."
            )
        grouped = self.advantage in ("leave_one_out", "group_mean", "group_standardised")
        if grouped and self.samples < 2:
            raise InputError(
                f"advantage = '{self.advantage}' with samples = {self.samples}: a group needs at least 2 samples."
            )
        if self.by_token and self.advantage == "group_standardised":
            raise InputError(
                "advantage = 'group_standardised' has no form for rewards given token by token (reward.source = "
                "process, or kl.where = reward); use leave_one_out or group_mean."
            )
        if self.minibatches > self.problems:
            raise InputError(
                f"minibatches = {self.minibatches} of {self.problems} problems; groups stay whole, so give at most "
                "as many minibatches as problems."
            )


@dataclass(frozen=True, slots=True)
class Training:
    """All options of one training run.

    Attributes:
        method: ``Sft`` or ``PolicyGradient``.
        optimiser: Of the policy (and of a critic that shares its backbone).
        precision: "float32", or "bfloat16" for autocast of the training passes; the weights stay as they are.
        balance: Weight of the load-balance loss of mixtures of experts.
    """

    method: Sft | PolicyGradient
    optimiser: Optimiser
    precision: str = "float32"
    balance: float = 0.01

    def __post_init__(self) -> None:
        _one_of("precision", self.precision, ("float32", "bfloat16"))
        _between("balance", self.balance, 0, inf)
