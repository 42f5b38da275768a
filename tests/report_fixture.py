"""Synthetic run folders in the stored format: known laws with noise, every outcome, nulls and awkward names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlaws.claims import (
    Check,
    Outcome,
    PointVerdict,
    ReadingVerdict,
    Verdict,
    by_region,
    margin,
    over_grid,
    over_readings,
)

REGION = (0.9, 1.1)


def _round(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.8g}") if np.isfinite(v) else None for v in values]


def panel(
    key: str,
    regime: Mapping[str, Any],
    exponent: float,
    rng: np.random.Generator,
    groups: Sequence[str] = ("",),
    clusters: int = 24,
    readings: Sequence[str] = ("exponent", "form"),
) -> dict[str, Any]:
    """A power law measured with noise at k = 1 … 1024, the three largest k held out."""
    x = 2.0 ** np.arange(11)
    fine = np.geomspace(1, 2048, 120)
    points: dict[str, list[Any]] = {n: [] for n in ("x", "y", "low", "high", "group")}
    held: dict[str, Any] = {**{n: [] for n in points}, "label": "predicted"}
    curves = []
    rows: list[list[float | None]] = []
    for i, group in enumerate(groups):
        truth = 0.6 * (1 + 0.7 * i) * x**-exponent
        raw = truth * np.exp(rng.normal(0, 0.25, (clusters, len(x))))
        mean, half = raw.mean(0), 1.96 * raw.std(0) / np.sqrt(clusters)
        for j in range(len(x)):
            target = held if j >= 8 else points
            for name, value in (("x", x[j]), ("y", mean[j]), ("low", mean[j] - half[j]), ("high", mean[j] + half[j])):
                target[name].append(float(value))
            target["group"].append(group)
        if group == groups[0]:
            rows = [_round(r) for r in raw]
        law = 0.6 * (1 + 0.7 * i) * fine**-exponent
        grow = 0.06 + 0.03 * np.abs(np.log(fine / 16))
        curve = {
            "law": "power",
            "formula": r"y = a\,k^{-b}",
            "role": "law",
            "group": group,
            "x": _round(fine),
            "y": _round(law),
            "low": _round(law * np.exp(-grow)),
            "high": _round(law * np.exp(grow)),
            "new_low": _round(law * np.exp(-grow - 0.5)),
            "new_high": _round(law * np.exp(grow + 0.5)),
            "fitted_to": 128.0,
        }
        curves.append(curve)
        rivals = {
            "exponential": (r"y = a\,e^{-k/\tau}", 0.6 * np.exp(-fine / 60)),
            "constant": ("y = c", 0 * fine + 0.08),
        }
        for name, (formula, y) in rivals.items():
            curves.append(
                {
                    "law": name,
                    "formula": formula,
                    "role": "rival",
                    "group": group,
                    "x": _round(fine),
                    "y": _round(y * (1 + 0.7 * i)),
                    "low": [],
                    "high": [],
                    "new_low": [],
                    "new_high": [],
                    "fitted_to": 128.0,
                }
            )
    half = 0.05
    return {
        "key": key,
        "regime": dict(regime),
        "regime_units": {"alpha": "1", "beta": "1", "L": "steps"},
        "link": None,
        "readings": list(readings),
        "law": "power",
        "formula": r"y = a\,k^{-b}",
        "source": "folklore",
        "x": "k",
        "x_unit": "samples",
        "response": "failure",
        "unit": "1",
        "x_scale": "log",
        "y_scale": "log",
        "points": points,
        "raw": {"x": _round(x), "y": rows},
        "held": held,
        "curves": curves,
        "params": [
            {
                "name": "b",
                "symbol": "b",
                "unit": "1",
                "estimate": exponent,
                "low": exponent - half,
                "high": exponent + half,
                "null": 0.0,
            },
            {"name": "a", "symbol": "a", "unit": "1", "estimate": 0.6, "low": 0.55, "high": 0.66, "null": None},
        ],
        "status": "The fit is OK.",
        "ok": True,
        "clusters": clusters,
        "scores": [
            {"law": "power", "score": -1.2, "difference": 0.0, "stderr": 0.0, "z": 0.0},
            {"law": "exponential", "score": -3.4, "difference": 2.2, "stderr": 0.4, "z": 5.5},
            {"law": "constant", "score": -9.0, "difference": 7.8, "stderr": None, "z": None},
        ],
    }


def check(exponent: float, half: float = 0.05, power: float | None = 0.93) -> Check:
    """An exponent against the region 1 ± 0.1."""
    interval = (exponent - half, exponent + half)
    outcome = by_region(interval, REGION)
    return Check(
        prediction="b in [0.9, 1.1]",
        outcome=outcome,
        reason={"en": f"b = {exponent:.3g} lies {outcome}.", "zh": f"b = {exponent:.3g}，判为 {outcome}。"},
        estimate=exponent,
        interval=interval,
        region=REGION,
        margin=margin(exponent, interval, REGION),
        power=power,
    )


def form_check(ok: bool = True) -> Check:
    """A form against two rivals."""
    return Check(
        prediction="power and no rival",
        outcome=Outcome.SUPPORTED if ok else Outcome.REFUTED,
        reason={"en": "No rival predicts the sealed points better.", "zh": "没有竞争律更好地预测被封存的点。"},
        margin=2.75 if ok else -3.1,
        rivals={"exponential": (2.2, 0.4), "constant": (7.8, float("nan"))},
        label="predicted",
    )


def verdict(
    claim: str,
    grid: Mapping[str, Sequence[Any]],
    exponents: np.ndarray,
    rung: str = "sim",
    study: str | None = None,
    title: Mapping[str, str] | None = None,
) -> tuple[Verdict, list[dict[str, Any]]]:
    """A verdict over a grid with one exponent at each point, and its panels."""
    rng = np.random.default_rng(7)
    names = list(grid)
    regimes = [dict(zip(names, values, strict=True)) for values in _product([grid[n] for n in names])]
    first, second, panels = [], [], []
    for i, (regime, b) in enumerate(zip(regimes, exponents.ravel(), strict=True)):
        panels.append(panel(f"p{i}", regime, float(b), rng))
        judged = check(float(b))
        first.append(PointVerdict(regime, judged.outcome, (judged,), f"p{i}"))
        form = form_check()
        second.append(PointVerdict(regime, form.outcome, (form,), f"p{i}"))
    outcome = over_grid([p.outcome for p in first])
    boundary = {"text": {"en": "Supported for alpha ≥ 0.9, refuted below.", "zh": "alpha ≥ 0.9 时支持，更小时否定。"}}
    readings = (
        ReadingVerdict(
            "exponent",
            {"en": "the tail exponent is 1.0 ± 0.1", "zh": "尾部指数为 1.0 ± 0.1"},
            outcome,
            {"en": f"At {len(first)} regime points: {outcome}.", "zh": f"在 {len(first)} 个工况点上：{outcome}。"},
            min((c.margin for p in first for c in p.checks if c.margin is not None), key=abs),
            tuple(first),
            boundary=boundary if outcome == Outcome.CONDITIONAL else None,
            alarms=(
                {
                    "en": "The sign differs between the links absolute and logit.",
                    "zh": "absolute 与 logit 两种链接下符号不同。",
                },
            ),
        ),
        ReadingVerdict(
            "form",
            {"en": "a power law and no rival", "zh": "是幂律，且没有竞争律更好"},
            Outcome.SUPPORTED,
            {"en": "The form holds everywhere.", "zh": "该形式处处成立。"},
            2.75,
            tuple(second),
        ),
    )
    found = Verdict(
        claim=claim,
        statement={
            "en": "With best-of-N the failure probability falls as 1/N",
            "zh": "使用 best-of-N 时失败概率按 1/N 下降",
        },
        source={"cite": "folklore: The Art of Scaling RL digest", "place": "§5.4"},
        study=study or claim.replace(".", "/"),
        title=title or {"en": "Failure against samples", "zh": "失败率与样本数"},
        rung=rung,
        outcome=over_readings(readings),
        readings=readings,
        grid=dict(grid),
        seed=0,
        budget="quick",
        cost={
            "env_steps": 1234567,
            "flops": {"value": 3.2e12, "unit": "FLOP", "provenance": "derived"},
            "seconds": 12.5,
            "tokens": None,
        },
        hashes={"run_hash": "3fa9c1d2e4b5a697", "code_hash": "00ab", "config_hash": "77cd"},
        command=f"rlaws run study={study or claim.replace('.', '/')} budget=quick seed=0",
    )
    return found, panels


def _product(values: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = [()]
    for column in values:
        found = [(*f, v) for f in found for v in column]
    return found


def manifest(found: Verdict, **changes: Any) -> dict[str, Any]:
    """A manifest that fits a verdict."""
    return {
        "study": found.study,
        "claim": found.claim,
        "rung": found.rung,
        "seed": 0,
        "budget": "quick",
        "run_hash": "3fa9c1d2e4b5a697",
        "code_hash": "00ab",
        "config_hash": "77cd",
        "data": {},
        "versions": {"python": "3.11.9", "numpy": "2.4.0", "rlaws": "0.1.0"},
        "host": {"cpu": "x86-64", "cores": 2},
        "command": found.command,
        "started": "2026-01-01T00:00:00Z",
        "finished": "2026-01-01T00:00:12Z",
        "wall_s": 12.5,
        "cells": {"total": 12, "done": 12, "failed": 0, "reused": 0},
        "cost": dict(found.cost),
        **changes,
    }


def write_run(root: Path, found: Verdict, panels: Sequence[Mapping[str, Any]], **changes: Any) -> Path:
    """Store a verdict as a run folder."""
    folder = root / found.study / f"{found.budget}-{found.hashes['run_hash']}"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest(found, **changes)), encoding="utf-8")
    (folder / "verdict.json").write_text(json.dumps(found.to_json(), allow_nan=False), encoding="utf-8")
    (folder / "panels.json").write_text(json.dumps({"panels": list(panels)}, allow_nan=False), encoding="utf-8")
    return folder


def write_failed(root: Path, study: str, claim: str, rung: str = "logs", **changes: Any) -> Path:
    """Store a run that has no verdict."""
    folder = root / study / "quick-0badc0de"
    folder.mkdir(parents=True)
    body = {"study": study, "claim": claim, "rung": rung, "cells": {"total": 4, "done": 0, "failed": 4}, **changes}
    (folder / "manifest.json").write_text(json.dumps(body), encoding="utf-8")
    return folder


def mixed(root: Path) -> list[Path]:
    """One conditional claim on two rungs, a refuted one, one without data, one failed, one with awkward names."""
    alpha, beta = [0.3, 0.6, 1.0, 2.0], [2, 5, 10]
    bent = np.repeat([0.3, 0.62, 0.98, 1.02], 3) + np.tile([0.0, 0.005, 0.01], 4)
    bent[5] = 0.88
    folders = [write_run(root, *verdict("search.fail_1_over_n", {"alpha": alpha, "beta": beta}, bent))]
    folders.append(
        write_run(root, *verdict("search.fail_1_over_n", {}, np.array([0.99]), "toy", "search/fail_1_over_n_toy"))
    )
    folders.append(
        write_run(root, *verdict("search.exponents", {"L": [4, 8, 16, 32]}, np.array([0.5, 0.52, 0.55, 0.6])))
    )
    awkward = verdict(
        "capacity.selection",
        {"model": ["<script>alert(1)</script>", "a_b & 100% $x$"]},
        np.array([1.0, 1.08]),
        "llm",
        title={"en": "<b>Bold</b> & 'quotes'", "zh": "<b>标题</b>"},
    )
    folders.append(write_run(root, *awkward))
    sentence = "The file runs.csv is not in the data folder; set RLAWS_DATA to where it lies."
    folders.append(write_failed(root, "capacity/size_logs", "capacity.size", status="missing data", error=sentence))
    folders.append(write_failed(root, "critic/moe_toy", "critic.moe", "toy"))
    return folders


def hard(root: Path) -> Path:
    """Panels whose labels need room: a long response, tiny values, many curves with long names, a single point."""
    found, panels = verdict("topic.hard_to_draw", {"alpha": [1, 2, 3, 4, 5, 6]}, np.linspace(0.9, 1.1, 6))
    rng = np.random.default_rng(3)
    for p in panels[:3]:
        p["response"] = (
            "difference of the slopes of the logarithm of the loss against data and against compute, k_D - k_C"
        )
        p.update(y_scale="linear", raw=None, curves=[], held=None)
        for part in ("y", "low", "high"):
            p["points"][part] = [v * -1e-4 for v in p["points"][part]]
    panels[1]["points"] = {"x": [7.0], "y": [-2.75e-4], "low": [-3.1e-4], "high": [-2.4e-4], "group": [""]}
    names = [f"method = a rather long name {i}, model_B = {10**i}" for i in range(12)]
    panels[3].update(
        {k: v for k, v in panel("x", {}, 0.4, rng, names).items() if k not in ("key", "regime", "readings")}
    )
    panels[4].update(x_scale="linear", y_scale="log", unit="reward per step^(1/2)", x_unit="1e9 parameters")
    panels[5]["points"]["y"] = [1e9 * v for v in panels[5]["points"]["y"]]
    return write_run(root, found, panels)
