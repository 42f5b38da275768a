"""SkyRL: console blocks ``Step N:`` followed by a dict over several lines, whose floats are texts of four decimals.

Ray prints such a block twice at times, line by line or as a whole; neither counts twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.rows import Warn, sureness, values
from rlaws.logs.readers import lines, literal

KEYS = (
    Key("trainer/global_step", "step"),
    Key("trainer/epoch", "epoch"),
    Key("reward/avg_raw_reward", "reward_task"),
    Key(r"reward/avg_pass_at_(?P<k>\d+)", "pass_k", note="of the training rollouts, by the samples of each group"),
    Key("reward/num_zero_variance_filtered", note="groups dropped because all their rewards are equal: a count"),
    Key(r"reward/(?:mean_positive_reward|mean|min|max)", note="other summaries of the reward"),
    Key("loss/avg_final_rewards", "reward_train", note="after the KL penalty; until October 2025 loss/avg_raw_rewards"),
    Key("loss/avg_raw_rewards", "reward_train", note="old name of loss/avg_final_rewards: not the raw reward"),
    Key("loss/avg_raw_advantages", "advantage_mean"),
    Key("loss/avg_raw_advantages_abs", note="mean absolute advantage"),
    Key("policy/policy_kl", "kl_ref", note="to the reference model, of the KL loss; logged only with that loss"),
    Key("loss/avg_kl", "kl_ref", note="to the reference model, of the KL penalty in the reward"),
    Key("loss/avg_kl_max", note="largest KL divergence of a token, mean over responses"),
    Key("loss/kl_loss_coef", "kl_coef"),
    Key("policy/policy_loss", "loss_policy"),
    Key("policy/policy_entropy", "entropy_token"),
    Key("policy/final_loss", "loss"),
    Key("policy/policy_lr", "lr"),
    Key(r"policy/(?:loss_metrics/)?(?:ppo_)?clip_ratio", "clip_total"),
    Key("policy/(?:raw_)?grad_norm", "grad_norm"),
    Key("policy/response_length", note="padded length of the batch, not the mean length"),
    Key(
        r"policy/rollout_train_logprobs_abs_diff_\w+",
        note="absolute difference of log-probabilities, sampler against trainer: no KL divergence",
    ),
    Key(
        r"policy/(?:loss_metrics|tis)/.+|policy/(?:policy_update_steps|\w*log_ratio\w*|is_ratio\w*|ppo_\w+)",
        note="other statistics",
    ),
    Key("critic/critic_loss", "loss_critic"),
    Key("critic/(?:values_mean|values_clipfrac|critic_lr|(?:raw_)?grad_norm|critic_update_steps)", note="critic"),
    Key("generate/avg_num_tokens", "len_mean"),
    Key("generate/batch_num_seq", "samples_step"),
    Key("generate/.+", note="other statistics of the generated tokens"),
    Key("async/staleness_mean", "staleness"),
    Key("async/.+", note="other statistics of staleness"),
    Key("trainer/tokens_per_second_per_gpu", note="throughput"),
    Key("timing/step", "seconds_step"),
    Key("timing/.+", note="seconds of one part of the step"),
    Key("environment/.+", note="metrics of the environment"),
    Key(r"eval/(?P<set>.+)/pass_at_(?P<k>\d+)", "eval", note="right at least once in k", labels={"metric": "any"}),
    Key(r"eval/(?P<set>.+)/avg_score", "eval", labels={"metric": "score"}),
    Key(r"eval/.+/mean_positive_reward", note="mean over the positive scores only"),
    Key(
        r"eval/.+/(?:avg_num_tokens|\w*num_tokens|\w*tokens_\w+|stop_reason/\w+)",
        note="other statistics of evaluation",
    ),
)

_STEP = re.compile(r"\bStep (?P<step>\d+):\s*(?:\{.*)?$")
_ITEM = re.compile(r"^(?:\([^()]*\))?\s*(?P<item>\{?\s*'[\w@./+-]+': .*[,}])\s*$")
_PATIENCE = 1000  # lines without an item after which a block is given up


@dataclass(slots=True)
class _Block:
    """One "Step N:" and the lines of its dict."""

    place: int
    step: float
    items: list[str] = field(default_factory=list)
    foreign: int = 0

    def add(self, line: str) -> None:
        """Take a line of the dict; what another process printed in between, or the same line again, is passed over."""
        found = _ITEM.match(line)
        if found is None or found["item"].startswith("{") == bool(self.items):  # only the first item opens the dict
            self.foreign += 1
        elif not self.items or self.items[-1] != found["item"]:
            self.items.append(found["item"])

    def done(self) -> bool:
        """Return whether the dict is closed, or will not be."""
        return bool(self.items and self.items[-1].endswith("}")) or self.foreign > _PATIENCE

    def row(self) -> dict[str, object] | None:
        """Return the dict, or None where it is damaged."""
        return literal(" ".join(self.items))


class SkyRl:
    """Blocks of a printed dict; the floats are rounded to four decimals."""

    NAME: ClassVar[str] = "skyrl"
    TITLE: ClassVar[str] = "SkyRL, console"
    NEEDS: ClassVar[str] = "blocks 'Step N:' with a printed dict of SkyRL's keys (trainer/global_step, reward/...)"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    SIGNATURE: ClassVar[str] = (
        r"trainer/global_step|reward/avg_raw_reward|policy/policy_(?:loss|entropy|lr)|eval/all/(?:avg_score|pass_at_\d+)"
    )

    def sniff(self, head: Head) -> float:
        """Return how sure the keys of the blocks make."""
        rows = [block.row() for block in _blocks(enumerate(head.text.splitlines(), start=1))]
        return sureness({key for row in rows if row for key in row}, KEYS, self.SIGNATURE)

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a block; a block that is cut or damaged is told to ``warn``."""
        rounded = False
        for block in _blocks(lines(path, tell, warn)):
            row = block.row()
            if row is None:
                warn(f"{path.name}, line {block.place}: step {block.step:g} is cut or damaged; it is left out.")
                continue
            if not rounded and row.get("policy/policy_lr") == "0.0000":
                rounded = True
                warn(f"{path.name} prints four decimals, and its learning rate as 0.0000: the column lr is useless.")
            yield Record(block.step, values(row), block.place)


def _blocks(source: Iterator[tuple[int, str]]) -> Iterator[_Block]:
    """Yield the blocks that have a dict, whole or damaged."""
    block: _Block | None = None
    for number, line in source:
        found = _STEP.search(line)
        if found:
            if block is not None and block.items:
                yield block
            block = _Block(number, float(found["step"]))
        if block is not None:
            block.add(line[found.end("step") + 1 :] if found else line)
            if block.done():
                if block.items:
                    yield block
                block = None
    if block is not None and block.items:
        yield block


DIALECT = SkyRl()
