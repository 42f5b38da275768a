"""Where a conditional verdict changes: the threshold of one or two settings that best parts supported from refuted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlaws.claims import Outcome, PointVerdict

Side = list[PointVerdict]
Rule = tuple[str, str, Any]
Leaf = tuple[list[tuple[Rule, bool]], Side]


def boundary(verdicts: Sequence[PointVerdict]) -> dict[str, Any]:
    """Return the boundary between supported and refuted regime points.

    The rules are "setting <= value", "setting = value" and "setting between two values". One rule that misplaces no
    decided point is taken if there is one, simpler kinds first; else the pair of rules, the second inside one side of
    the first, that misplaces fewest.

    Returns:
        {"axes": settings used, "text": {en, zh}, "errors": decided points on the wrong side}.
    """
    decided = [v for v in verdicts if v.outcome in (Outcome.SUPPORTED, Outcome.REFUTED)]
    options = [_split(decided, rule) for rule in _candidates(decided)]
    errors, leaves = min(options, key=lambda o: (o[0], len(o[1])), default=(_minority(decided), [([], decided)]))
    return _told(decided, leaves, errors)


def _split(side: Side, rule: Rule) -> tuple[int, list[Leaf]]:
    """Return the errors and leaves of a rule, with its worse side split once more where that helps."""
    leaves: list[Leaf] = [([(rule, yes)], [v for v in side if _holds(rule, v.regime) is yes]) for yes in (True, False)]
    path, impure = max(leaves, key=lambda leaf: _minority(leaf[1]))
    errors = sum(_minority(s) for _, s in leaves)
    cuts = []
    for second in _candidates(impure):
        inside = [v for v in impure if _holds(second, v.regime)]
        outside = [v for v in impure if not _holds(second, v.regime)]
        cuts.append((_minority(inside) + _minority(outside), second, inside, outside))
    if not errors or not cuts:
        return errors, leaves
    more, second, inside, outside = min(cuts, key=lambda c: c[0])
    if more >= _minority(impure):
        return errors, leaves
    kept = [leaf for leaf in leaves if leaf[1] is not impure]
    split = [([*path, (second, True)], inside), ([*path, (second, False)], outside)]
    return errors - _minority(impure) + more, [*kept, *split]


def _minority(side: Sequence[PointVerdict]) -> int:
    supported = sum(v.outcome is Outcome.SUPPORTED for v in side)
    return min(supported, len(side) - supported)


def _candidates(side: Sequence[PointVerdict]) -> list[Rule]:
    """Return all one-setting rules that part the points, bands last."""
    rules: list[Rule] = []
    bands: list[Rule] = []
    for name in side[0].regime if side else ():
        values = {v.regime[name] for v in side}
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            ordered = sorted(values)
            rules += [(name, "<=", v) for v in ordered[:-1]]
            inner = range(1, len(ordered) - 1)
            bands += [(name, "in", (ordered[i], ordered[j])) for i in inner for j in inner if i <= j]
        else:
            rules += [(name, "=", v) for v in sorted(values, key=str)] if len(values) > 1 else []
    return rules + bands


def _holds(rule: Rule, regime: Mapping[str, Any]) -> bool:
    name, kind, value = rule
    if kind == "in":
        return bool(value[0] <= regime[name] <= value[1])
    return bool(regime[name] <= value) if kind == "<=" else bool(regime[name] == value)


def _told(decided: Side, leaves: Sequence[Leaf], errors: int) -> dict[str, Any]:
    """Say on which side of the rules the claim holds."""
    holds: list[str] = []
    fails: list[str] = []
    for path, side in leaves:
        words = " and ".join(_words(rule, yes, decided) for rule, yes in path)
        supported = sum(v.outcome is Outcome.SUPPORTED for v in side)
        (holds if supported * 2 > len(side) else fails).append(words)
    if not any(holds) or not any(fails):
        return _exceptions(decided)
    inside, outside = " or ".join(holds), " or ".join(fails)
    en = f"holds where {inside}; fails where {outside}"
    zh = f"成立：{inside}；不成立：{outside}"
    if errors:
        en += f" ({errors} of {len(decided)} decided points lie on the other side)"
        zh += f"（{len(decided)} 个已判定点中有 {errors} 个在另一侧）"
    axes = list(dict.fromkeys(rule[0] for path, _ in leaves for rule, _ in path))
    return {"axes": axes, "text": {"en": en, "zh": zh}, "errors": errors}


def _exceptions(decided: Side) -> dict[str, Any]:
    """Name the points of the rarer kind, where no rule parts the two."""
    supported = [v for v in decided if v.outcome is Outcome.SUPPORTED]
    refuted = [v for v in decided if v.outcome is Outcome.REFUTED]
    rare, common = sorted((supported, refuted), key=len)
    points = "; ".join(", ".join(f"{k} = {w}" for k, w in v.regime.items()) for v in rare[:3])
    more = f" and {len(rare) - 3} more" if len(rare) > 3 else ""
    verb, zh_verb = ("holds", "成立") if rare is supported else ("fails", "不成立")
    other, zh_other = ("fails", "不成立") if rare is supported else ("holds", "成立")
    return {
        "axes": list(decided[0].regime)[:2],
        "text": {
            "en": f"{verb} only at {points}{more}, and {other} at the other {len(common)} decided points",
            "zh": f"仅在 {points}{more} 处{zh_verb}，其余 {len(common)} 个已判定点{zh_other}",
        },
        "errors": 0,
    }


def _words(rule: Rule, yes: bool, decided: Sequence[PointVerdict]) -> str:
    name, kind, value = rule
    if kind == "=":
        others = {v.regime[name] for v in decided} - {value}
        if not yes and len(others) == 1:
            return f"{name} = {others.pop()}"
        return f"{name} {'=' if yes else '≠'} {value}"
    if kind == "in":
        band = f"{value[0]:g}" if value[0] == value[1] else f"{value[0]:g} to {value[1]:g}"
        return f"{name} {'=' if yes else '≠'} {band}"
    if yes:
        return f"{name} ≤ {value:g}"
    above = min(v.regime[name] for v in decided if v.regime[name] > value)
    return f"{name} ≥ {above:g}"
