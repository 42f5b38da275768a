"""Console text of TRL's GRPO and RLOO trainers: one printed dict a logging step, between progress bars.

The dicts name no step (transformers prints ``epoch`` only), and newer transformers quotes the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key
from rlaws.logs.dialects.rows import ConsoleRows
from rlaws.logs.dialects.trl_keys import GRPO, TRAINER
from rlaws.logs.readers import number


class TrlStdout(ConsoleRows):
    """Printed dicts with TRL's keys, ragged: a row inside one generation batch has no reward."""

    NAME: ClassVar[str] = "trl_stdout"
    TITLE: ClassVar[str] = "TRL GRPO/RLOO, console"
    NEEDS: ClassVar[str] = "printed dicts with keys such as reward_std or completions/mean_length"
    KEYS: ClassVar[tuple[Key, ...]] = (*GRPO, *TRAINER)
    ROW: ClassVar[re.Pattern[str]] = re.compile(r"(?P<dict>\{'[\w/]+': .*\})\s*$")
    SIGNATURE: ClassVar[str] = (
        r"completions/\w+|completion_length|num_tokens|reward_std|frac_reward_zero_std|clip_ratio/\w+|rewards/.+"
    )
    FOREIGN: ClassVar[str] = r"global_step/max_steps|objective/.+"

    def sniff(self, head: Head) -> float:
        """Return how sure the keys make; 0 where the rows carry keys of ms-swift or of PPO."""
        keys = self.head_keys(head)
        if any(re.fullmatch(self.FOREIGN, key) for key in keys):
            return 0.0
        return self.sure(keys)

    def step(self, match: re.Match[str], row: Mapping[str, object]) -> float | None:
        """Return the step where a callback printed one, else None."""
        return number(row.get("step"))


DIALECT = TrlStdout()
