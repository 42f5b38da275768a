"""Console text of TRL's PPO trainer and of its older RLOO trainer: printed dicts with ``objective/`` keys.

Sums and means live side by side there: ``objective/kl`` and ``objective/entropy`` are sums over the tokens of a
completion, ``policy/approxkl_avg`` and ``policy/entropy_avg`` means; ``val/`` means the value function.
"""

from __future__ import annotations

import re
from typing import ClassVar

from rlaws.logs.dialects.base import Key
from rlaws.logs.dialects.rows import ConsoleRows
from rlaws.logs.dialects.trl_keys import PPO, TRAINER


class TrlPpo(ConsoleRows):
    """Printed dicts; the x axis is ``episode``, the number of completions seen, and no step is named."""

    NAME: ClassVar[str] = "trl_ppo"
    TITLE: ClassVar[str] = "TRL PPO, console"
    NEEDS: ClassVar[str] = "printed dicts with keys such as objective/rlhf_reward"
    KEYS: ClassVar[tuple[Key, ...]] = (*PPO, *TRAINER)
    ROW: ClassVar[re.Pattern[str]] = re.compile(r"(?P<dict>\{'[\w/]+': .*\})\s*$")
    SIGNATURE: ClassVar[str] = r"objective/(?:rlhf_reward|non_score_reward|scores|kl|entropy)"


DIALECT = TrlPpo()
