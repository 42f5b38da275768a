"""Answers per problem as plain values: what was imported of each model, and its pass@k with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlaws.estimators import pass_at_k
from rlaws.fits.asking import Asked
from rlaws.jsonable import plain
from rlaws.logs.imported_counts import Answers, Table
from rlaws.measurement import Measurement
from rlaws.probes.pass_at_k import sample_grid
from rlaws.resampling import to_points
from rlaws.seeding import generator
from rlaws.sentences import Said, said, text_of


def answers_of(asked: Asked) -> Answers:
    """Return which answers are read."""
    return Answers(asked.logs.paths, asked.logs.dialect, asked.step, asked.threshold)


def counted(table: Table, asked: Asked) -> dict[str, Any]:
    """Return a model's answers as plain values: what was read, and pass@k for k = 1, 2, 4, ... with intervals.

    pass@k is the mean of the unbiased estimates of the problems (``estimators.pass_at_k``), k up to the fewest answers
    of a problem. The interval is that of resampled problems: it holds for problems like these.
    """
    out: dict[str, Any] = {
        "name": table.name, "dialect": table.dialect, "sources": list(table.sources), "step": table.step,
        "steps": {"number": len(table.steps), "first": min(table.steps, default=None),
                  "last": max(table.steps, default=None)},
        "problems": table.n.size, "answers": int(table.n.sum()), "right": int(table.c.sum()),
        "fewest": int(table.n.min()), "most": int(table.n.max()), "settings": dict(table.settings),
        "warnings": list(table.warnings), "notes": [text_of(note) for note in notes(table)],
    }  # fmt: skip
    return dict(plain(out | _curve(table, asked)))


def notes(table: Table) -> list[Said]:
    """Return what to know of the numbers of a model."""
    found = []
    if len(table.steps) > 1 and table.step is not None:
        key = "step_last" if table.step == table.steps[-1] else "step_asked"
        n = len(table.steps)
        found.append(said(key, n=n, first=table.steps[0], last=table.steps[-1], step=table.step))
    if table.n.min() < table.n.max():
        found.append(said("fewest", least=int(table.n.min()), most=int(table.n.max())))
    if table.n.size < 2:
        found.append(said("one_problem"))
    return found


def _curve(table: Table, asked: Asked) -> dict[str, Any]:
    """Return k [K], pass@k [K] and the ends of its intervals [K], None where there is one problem."""
    ks = sample_grid(int(table.n.min()), 1)
    share = pass_at_k(table.n, table.c, ks)
    columns = {
        "cluster": np.repeat(table.problem, ks.size), "k": np.tile(ks, table.n.size), "total": share.ravel(),
        "weight": np.ones(share.size),
    }  # fmt: skip
    units = {"k": "samples", "total": "problems", "weight": "problems"}
    measured = Measurement(columns, units, ("k",), "share", "pass@k", "1")
    points = to_points(measured, generator(asked.seed, "fit", "answers", table.name), asked.draws)
    low = high = np.full(ks.size, np.nan)
    if table.n.size > 1 and points.draws is not None:
        low, high = np.quantile(points.draws, [0.5 - asked.level / 2, 0.5 + asked.level / 2], axis=0)
    return {"k": ks, "pass": points.y, "low": low, "high": high, "level": asked.level}


def by_samples(tables: Sequence[Table]) -> list[tuple[int, list[Table]]]:
    """Return the models by the fewest answers of a problem, most answers first: one study has one largest k."""
    groups: dict[int, list[Table]] = {}
    for table in tables:
        groups.setdefault(int(table.n.min()), []).append(table)
    return sorted(groups.items(), key=lambda pair: -pair[0])
