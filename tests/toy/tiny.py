"""A policy so small that every sequence and every group can be enumerated: T tokens of V letters, a table of logits."""

from itertools import product

import torch

torch.set_num_threads(1)


class Tree:
    """Autoregressive softmax policy over V^T sequences in float64; one logit vector for each prefix.

    ``log_p`` [N, T] holds log pi of each token of each of the N = V^T sequences.
    """

    def __init__(self, seed: int, letters: int = 3, length: int = 2) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.sequences = list(product(range(letters), repeat=length))
        self.prefixes = sorted({s[:t] for s in self.sequences for t in range(length)})
        self.theta = torch.randn(len(self.prefixes), letters, generator=rng, dtype=torch.float64).requires_grad_()

    @property
    def log_p(self) -> torch.Tensor:
        table = self.theta.log_softmax(dim=1)
        rows = [[table[self.prefixes.index(s[:t]), s[t]] for t in range(len(s))] for s in self.sequences]
        return torch.stack([torch.stack(row) for row in rows])

    @property
    def p(self) -> torch.Tensor:
        return self.log_p.sum(dim=1).exp()

    def gradient(self, value: torch.Tensor) -> torch.Tensor:
        (g,) = torch.autograd.grad(value, self.theta, retain_graph=True)
        return g

    def scores(self) -> torch.Tensor:
        """grad log pi(y) of every sequence, [N, parameters]."""
        total = self.log_p.sum(dim=1)
        return torch.stack([self.gradient(x).flatten() for x in total])

    def groups(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """All N^G groups, [N^G, G], and their probabilities, [N^G]."""
        members = torch.tensor(list(product(range(len(self.sequences)), repeat=size)))
        return members, self.p.detach()[members].prod(dim=1)

    def expected_estimate(self, advantage, reward: torch.Tensor, size: int) -> torch.Tensor:
        """Exact expectation of (1/G) sum_i A_i grad log pi(y_i) over all groups of ``size``, [parameters]."""
        members, probability = self.groups(size)
        a = advantage(reward[members])
        weight = torch.zeros(len(self.sequences), dtype=torch.float64)
        weight.index_add_(0, members.flatten(), (probability[:, None] * a / size).flatten())
        return weight @ self.scores()
