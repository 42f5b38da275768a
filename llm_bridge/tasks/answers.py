"""Final answers in free text: where they stand, and when two are equal."""

from __future__ import annotations

import re
from fractions import Fraction

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_SAID = re.compile(r"(?:final\s+)?answer(?:\s+is)?\s*[:=]?\s+(\S[^\n]*)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:/\d+)?")

ASK = "Think step by step, one step a line. Give the final answer between <answer> and </answer>."


def tagged(answer: str) -> str:
    """Return an answer as the questions ask for it."""
    return f"<answer>{answer}</answer>"


def final_answer(text: str, only_tagged: bool = False) -> str | None:
    r"""Return the last final answer of a response: in <answer> tags, else in \boxed{}, else after "answer:"; else None.

    Args:
        text: The response.
        only_tagged: Accept the tags alone.
    """
    found = _TAGGED.findall(text)
    if found:
        return found[-1].strip() or None
    if only_tagged:
        return None
    boxed = _boxed(text)
    if boxed is not None:
        return boxed.strip() or None
    said = _SAID.findall(text)
    return (said[-1].strip().rstrip(".").strip() or None) if said else None


def _boxed(text: str) -> str | None:
    r"""Return what stands in the last \boxed{...}, braces inside it matched; None if it is not closed."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    begin, depth = start + len("\\boxed{"), 1
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    return None


def plain(text: str) -> str:
    """Return a text with its white space made single."""
    return " ".join(text.split())


def number(text: str) -> Fraction | None:
    """Return the last number in a text, exactly: digits with commas, a decimal point or a fraction; None if none."""
    found = _NUMBER.findall(text)
    if not found:
        return None
    above, _, below = found[-1].replace(",", "").partition("/")
    if below and int(below) == 0:
        return None
    return Fraction(above) / Fraction(below or 1)
