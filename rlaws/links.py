"""The four ways to read a bounded metric. They can disagree on the sign of an effect, so a verdict names its link.

With y the metric in [0, 1] and y0 a reference (the value before training; 0 where there is none):

    absolute    y - y0
    headroom    (y - y0) / (1 - y0)
    log_error   log((1 - y0) / (1 - y))
    logit       log(y / (1 - y)) - log(y0 / (1 - y0))      (without a reference: log(y / (1 - y)))
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest

Array = NDArray[np.float64]


def _logit(y: Array) -> Array:
    return np.log(y / (1.0 - y))


LINKS: dict[str, Callable[[Array, Array | None], Array]] = {
    "absolute": lambda y, y0: y if y0 is None else y - y0,
    "headroom": lambda y, y0: y if y0 is None else (y - y0) / (1.0 - y0),
    "log_error": lambda y, y0: -np.log1p(-y) if y0 is None else np.log((1.0 - y0) / (1.0 - y)),
    "logit": lambda y, y0: _logit(y) if y0 is None else _logit(y) - _logit(y0),
}


def apply_link(name: str, y: Array, y0: Array | None = None) -> Array:
    """Return the metric under a link.

    Args:
        name: absolute, headroom, log_error or logit.
        y: The metric, inside [0, 1]; strictly inside for log_error (below 1) and logit.
        y0: The reference, or None.

    Raises:
        InputError: Unknown link, or a value outside the link's domain.
    """
    if name not in LINKS:
        raise InputError(f"There is no link '{name}'.{suggest(name, LINKS)}")
    for label, values in (("metric", y), ("reference", y0)):
        if values is not None and (np.nanmin(values) < 0 or np.nanmax(values) > 1):
            raise InputError(f"The {label} leaves [0, 1], so link '{name}' does not apply; use link 'absolute'.")
    with np.errstate(divide="ignore", invalid="ignore"):
        out = LINKS[name](y, y0)
    if np.any(np.isinf(out)):
        raise InputError(f"Link '{name}' is infinite where the metric is 0 or 1; drop those points or change the link.")
    return out
