"""An engine without a model, which says what it was asked."""

from collections.abc import Mapping

import numpy as np

from llm_bridge.backends.base import Completion, Request, Scored


class Echo:
    """An engine that notes what it is asked; sample i of a request says so."""

    def __init__(self, name: str = "echo") -> None:
        self.name = name
        self.asked: list[Request] = []
        self.scored: list[tuple[str, str]] = []
        self.counted = 0

    def identity(self) -> Mapping[str, object]:
        return {"model": self.name, "base_seed": 0, "adapter": "", "engine": "echo"}

    def generate(self, requests, sampling):
        self.asked += requests
        return [[self.completion(r, k) for k in range(r.first, r.first + r.n)] for r in requests]

    def completion(self, r: Request, k: int) -> Completion:
        return Completion(f"{r.question}{r.prefix} {r.seed}.{k} é\n", 3, -1.25 - k, True)

    def score(self, texts):
        self.scored += texts
        return [Scored(tuple(a), np.log(np.full(len(a), 0.3)), None) for _, a in texts]

    def length(self, question, answer=""):
        self.counted += 1
        return len(question) + len(answer)
