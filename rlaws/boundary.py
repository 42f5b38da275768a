"""Where a conditional verdict changes: the threshold of one or two settings that best parts supported from refuted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlaws.claims import Outcome, PointVerdict

Side = list[PointVerdict]


def boundary(verdicts: Sequence[PointVerdict]) -> dict[str, Any]:
    """Return the boundary between supported and refuted regime points.

    A single rule "setting <= value" or "setting = value" is sought that misplaces the fewest decided points; if none is
    without error, the better side of the best rule is split once more.

    Returns:
        {"axes": settings used, "text": {en, zh}, "errors": decided points on the wrong side}.
    """
    decided = [v for v in verdicts if v.outcome in (Outcome.SUPPORTED, Outcome.REFUTED)]
    errors, rule = _best(decided)
    if errors == 0 or rule is None:
        return _told(decided, [rule] if rule else [], errors)
    inside = [v for v in decided if _holds(rule, v.regime)]
    outside = [v for v in decided if not _holds(rule, v.regime)]
    impure = max((inside, outside), key=_minority)
    more, second = _best(impure)
    return _told(decided, [rule, second] if second else [rule], errors - _minority(impure) + more)


def _minority(side: Sequence[PointVerdict]) -> int:
    supported = sum(v.outcome is Outcome.SUPPORTED for v in side)
    return min(supported, len(side) - supported)


def _candidates(side: Sequence[PointVerdict]) -> list[tuple[str, str, Any]]:
    """Return all one-setting rules that part the points."""
    rules: list[tuple[str, str, Any]] = []
    for name in side[0].regime if side else ():
        values = {v.regime[name] for v in side}
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            rules += [(name, "<=", v) for v in sorted(values)[:-1]]
        else:
            rules += [(name, "=", v) for v in sorted(values, key=str)] if len(values) > 1 else []
    return rules


def _holds(rule: tuple[str, str, Any], regime: Mapping[str, Any]) -> bool:
    name, kind, value = rule
    return bool(regime[name] <= value) if kind == "<=" else bool(regime[name] == value)


def _best(side: Sequence[PointVerdict]) -> tuple[int, tuple[str, str, Any] | None]:
    """Return the fewest misplaced points and the rule that does it."""
    scored = [
        (
            _minority([v for v in side if _holds(r, v.regime)])
            + _minority([v for v in side if not _holds(r, v.regime)]),
            i,
        )
        for i, r in enumerate(_candidates(side))
    ]
    if not scored:
        return _minority(side), None
    errors, index = min(scored)
    return errors, _candidates(side)[index]


def _told(decided: Side, rules: Sequence[tuple[str, str, Any]], errors: int) -> dict[str, Any]:
    """Say on which side of the rules the claim holds."""
    parts: dict[tuple[bool, ...], Side] = {}
    for v in decided:
        parts.setdefault(tuple(_holds(r, v.regime) for r in rules), []).append(v)
    holds, fails = [], []
    for key, side in sorted(parts.items(), reverse=True):
        words = " and ".join(_words(r, yes, decided) for r, yes in zip(rules, key, strict=True))
        supported = sum(v.outcome is Outcome.SUPPORTED for v in side)
        (holds if supported * 2 > len(side) else fails).append(words)
    inside, outside = " or ".join(holds) or "(no simple region)", " or ".join(fails) or "(no simple region)"
    en = f"holds where {inside}; fails where {outside}"
    zh = f"成立：{inside}；不成立：{outside}"
    if errors:
        en += f" ({errors} of {len(decided)} decided points lie on the other side)"
        zh += f"（{len(decided)} 个已判定点中有 {errors} 个在另一侧）"
    return {"axes": list(dict.fromkeys(r[0] for r in rules)), "text": {"en": en, "zh": zh}, "errors": errors}


def _words(rule: tuple[str, str, Any], yes: bool, decided: Sequence[PointVerdict]) -> str:
    name, kind, value = rule
    if kind == "=":
        return f"{name} {'=' if yes else '≠'} {value}"
    if yes:
        return f"{name} ≤ {value:g}"
    above = min(v.regime[name] for v in decided if v.regime[name] > value)
    return f"{name} ≥ {above:g}"
