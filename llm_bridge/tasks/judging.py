"""The process that grades: reasoning-gym and math-verify run here, one JSON line in, one out.

Both can loop for hours on what a model writes ("9**9**9**9"), and math-verify's own limit rests on SIGALRM, which no
thread but the main one may use. So they run in a process that ``llm_bridge.tasks.judge`` ends when its patience does.
Run as ``python -m llm_bridge.tasks.judging``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, SyntaxError,
              AssertionError, RecursionError)  # fmt: skip
"""What graders raise on answers that they cannot read: such an answer is wrong, and that is all that is known."""

GARBAGE = "~ no answer ~"
"""What no grader may call right."""


@cache
def _dataset(family: str, seed: int, size: int, knobs: str) -> Any:
    from reasoning_gym.factory import create_dataset

    return create_dataset(family, seed=seed, size=size, **json.loads(knobs))


def _score(dataset: Any, answer: str, entry: Mapping[str, Any]) -> float:
    try:
        return float(dataset.score_answer(answer, entry))
    except UNREADABLE:
        return 0.0


def families() -> dict[str, Any]:
    """Return the names of all families."""
    from reasoning_gym.factory import DATASETS

    return {"families": sorted(DATASETS)}


def draw(family: str, seed: int, size: int, knobs: str) -> dict[str, Any]:
    """Return questions and answers of a family, and whether it can be graded exactly: own answer 1, garbage below."""
    try:
        dataset = _dataset(family, seed, size, knobs)
        entries = [dataset[i] for i in range(size)]
    except (TypeError, AssertionError, ValueError) as error:  # how its configurations refuse a knob
        return {"refused": f"{error}"}
    answers = [e["answer"] for e in entries]
    exact = all(isinstance(a, str) and _score(dataset, a, e) >= 1 for a, e in zip(answers, entries, strict=True))
    exact = exact and all(_score(dataset, GARBAGE, e) < 1 for e in entries)
    return {"questions": [e["question"] for e in entries], "answers": answers, "exact": exact}


def gym(family: str, seed: int, size: int, knobs: str, index: int, answer: str) -> dict[str, Any]:
    """Tell whether an answer to one item of a family has the full score."""
    dataset = _dataset(family, seed, size, knobs)
    return {"right": _score(dataset, answer, dataset[index]) >= 1}


def math(gold: str, answer: str) -> dict[str, Any]:
    """Tell whether two mathematical answers are equal, and the plain form of the second.

    Both are read as a whole in mathematics mode, with math-verify's own limits off: this process has one.
    """
    from math_verify import parse, verify

    try:
        theirs, ours = (parse(f"${x}$", parsing_timeout=None) for x in (answer, gold))
        right = bool(theirs) and bool(verify(ours, theirs, timeout_seconds=None))
    except UNREADABLE:
        return {"right": False, "form": answer}
    return {"right": right, "form": str(theirs[0]) if theirs else answer}


ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {"families": families, "draw": draw, "gym": gym, "math": math}


def main() -> None:
    """Answer until the other side closes; what libraries print goes to stderr."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        said = ANSWERS[request.pop("ask")](**request)
        out.write(json.dumps(said) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
