"""slime and miles: console lines ``rollout N: {...}``, ``step N: {...}``, ``perf N: {...}``, ``eval N: {...}``.

``step`` counts optimiser steps and the others count rollouts; with several optimiser steps a rollout the two run apart.
The rollout is the step of a record here, so that one run has one axis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.rows import Warn, sureness, values
from rlaws.logs.readers import lines, literal

KEYS = (
    Key("rollout/step", "step"),
    Key("train/step", note="optimiser steps: several a rollout, where a rollout is split"),
    Key("eval/step|perf/step|multi_turn/step", note="the rollout of the evaluation"),
    Key("rollout/raw_reward", "reward_task"),
    Key("rollout/rewards", note="rewards after normalisation within the group: no progress to see"),
    Key("rollout/(?:response_lengths?|response_len/mean|response_lengths/mean)", "len_mean"),
    Key("rollout/total_lengths", "len_total"),
    Key("rollout/(?:truncated|truncated_ratio)", "trunc_frac"),
    Key("rollout/advantages", "advantage_mean"),
    Key("rollout/zero_std/all_zero_ratio|zero_std/all_zero_ratio", "frac_groups_all0"),
    Key("rollout/zero_std/all_one_ratio|zero_std/all_one_ratio", "frac_groups_all1"),
    Key(r"(?:rollout/)?zero_std/count_.+", note="groups whose rewards all equal this value: a count"),
    Key(r"(?:rollout/)?passrate/pass@(?P<k>\d+)", "pass_k"),
    Key(r"train/entropy_loss", "entropy_token", note="mean entropy, not weighted"),
    Key("rollout/entropy", "entropy_token", note="of the rollout policy, before the update"),
    Key("train/ppo_kl", "kl_old_new"),
    Key("train/kl_loss", "kl_ref", note="to the reference model, not weighted"),
    Key("rollout/kl", "kl_ref", note="to the reference model, as it enters the reward"),
    Key("train/pg_clipfrac", "clip_total"),
    Key("train/pg_loss", "loss_policy"),
    Key("train/loss", "loss"),
    Key("train/value_loss", "loss_critic"),
    Key("train/value_clipfrac", note="clipped share of the value function"),
    Key("train/grad_norm", "grad_norm"),
    Key(r"train/lr-pg_0|train/lr", "lr"),
    Key(r"train/lr-pg_\d+", note="learning rate of a further group of parameters"),
    Key(
        r"train/train_rollout_logprob_abs_diff(?:_\w+)?",
        note="absolute difference of log-probabilities, sampler against trainer: no KL divergence",
    ),
    Key(r"train/(?:tis|ois|mis)\w*", note="importance ratio, trainer over sampler"),
    Key(
        r"train/(?:imp_ratio|opsm_clipfrac|mtp_loss|load_balancing_loss|global_batch_size|\w*weights?_version\w*)",
        note="update",
    ),
    Key(r"rollout/(?:log_probs|ref_log_probs|rollout_log_probs|returns|values)", note="means of log-probabilities"),
    Key(
        r"rollout/(?:response_len|response_lengths|total_lengths|repetition_frac|spec|prefix_cache|dynamic_filter|"
        r"dynamic_global_batch_size|error_cat|multi_turn|zero_std|accuracy|advantages|\w*_rate)(?:/.+)?",
        note="another statistic of the rollouts",
    ),
    Key(r"(?:multi_turn|dynamic_filter|passrate)/.+", note="another statistic of the rollouts"),
    Key(r"eval/(?P<set>.+)/(?P<metric>acc|score|reward)", "eval"),
    Key(r"eval/(?P<set>.+)-pass@(?P<k>\d+)", "eval", labels={"metric": "pass"}),
    Key(
        r"eval/.+[-/](?:truncated_ratio|truncated|response_len\w*(?:/\w+)?|repetition_frac\w*)",
        note="lengths at evaluation",
    ),
    Key(r"eval/(?P<set>[^/]+)", "eval", labels={"metric": "mean"}),
    Key("perf/step_time", "seconds_step"),
    Key(
        r"perf/(?:\w+_time|\w*tok_per_s|\w*tflops|\w*tokens?_per_\w+|wait_time_ratio|\w+_ratio|\w*longest_sample\w*)",
        note="seconds and speed of one part of the step",
    ),
)

_ROW = re.compile(r"\b(?P<kind>rollout|step|train|perf|eval|multi_turn|passrate) (?P<at>\d+): (?P<dict>\{.*\})\s*$")


class Slime:
    """Printed dicts after what was counted."""

    NAME: ClassVar[str] = "slime"
    TITLE: ClassVar[str] = "slime or miles, console"
    NEEDS: ClassVar[str] = "lines 'rollout 3: {...}' and 'step 3: {...}'"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    SIGNATURE: ClassVar[str] = (
        r"rollout/raw_reward|train/(?:ppo_kl|train_rollout_logprob_abs_diff|pg_clipfrac|lr-pg_0)|perf/step_time"
    )

    def sniff(self, head: Head) -> float:
        """Return how sure the keys of the dicts make."""
        rows = [literal(found["dict"]) for line in head.text.splitlines() if (found := _ROW.search(line))]
        return sureness({key for row in rows if row for key in row}, KEYS, self.SIGNATURE)

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a line; an optimiser step stands at the rollout it trained on."""
        rollout: float | None = None
        apart = False
        for place, line in lines(path, tell, warn):
            found = _ROW.search(line)
            if found is None:
                continue
            row, at = literal(found["dict"]), float(found["at"])
            if row is None:
                warn(f"{path.name}, line {place} holds a dict of metrics that is damaged; it is left out.")
                continue
            trains = found["kind"] in ("step", "train")
            rollout = rollout if trains else at
            if trains and rollout is not None and at > rollout and not apart:
                apart = True
                warn(f"{path.name} counts optimiser steps apart from rollouts; the step is the rollout here.")
            yield Record(rollout if apart and rollout is not None else at, values(row), place)


DIALECT = Slime()
