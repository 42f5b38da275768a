"""Published families of language models: their sizes, and the memory that sampling and training them takes.

The numbers are those of the public configuration files. Memory is counted, not measured: what torch must hold at the
least, without the fragments and buffers of an allocator; take a tenth more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial

from rlaws.errors import InputError, suggest

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
USES = ("sample", "train", "lora")
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What determines a model's memory.

    Attributes:
        name: Hub id.
        kind: "llama", "qwen2" (biases on queries, keys and values), "qwen3" (norms of queries and keys) or "neox".
        width: Of the residual stream.
        layers: Blocks.
        heads: Of queries.
        kv_heads: Of keys and values.
        head_dim: Of one head.
        hidden: Units of an MLP.
        vocabulary: Rows of the embedding, padding included.
        tied: Whether input and output embedding are one matrix.
    """

    name: str
    kind: str
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    tied: bool

    @property
    def queries(self) -> int:
        """Width of all queries."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all keys, and of all values."""
        return self.kv_heads * self.head_dim

    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Return (inputs, outputs) of the matrices of one block."""
        d, q, k, f = self.width, self.queries, self.keys, self.hidden
        if self.kind == "neox":
            return ((d, q + 2 * k), (q, d), (d, f), (f, d))
        return ((d, q), (d, k), (d, k), (q, d), (d, f), (d, f), (f, d))

    def vectors(self) -> int:
        """Return the parameters of one block that are in no matrix: norms and biases."""
        d = self.width
        if self.kind == "neox":
            return 4 * d + sum(outputs for _, outputs in self.matrices())
        biases, norms = self.queries + 2 * self.keys, 2 * self.head_dim
        return 2 * d + {"qwen2": biases, "qwen3": norms}.get(self.kind, 0)

    def parameters(self) -> int:
        """Return the exact number of parameters."""
        block = sum(a * b for a, b in self.matrices()) + self.vectors()
        ends = self.vocabulary * self.width * (1 if self.tied else 2)
        return ends + self.layers * block + self.width * (2 if self.kind == "neox" else 1)

    def lora_parameters(self, rank: int) -> int:
        """Return the parameters of adapters of a rank on all matrices of all blocks."""
        return self.layers * rank * sum(a + b for a, b in self.matrices())

    def saved(self) -> int:
        """Return the numbers that one block keeps of each token for its backward pass, attention recomputed in blocks.

        Llama's kind: the stream before and after each norm (4 d), queries and keys after rotation, values, the output
        of attention, and of the MLP the gate, its activation, the other factor and their product (4 f); with norms of
        queries and keys those before it. GPT-NeoX: two norms of one stream (3 d), queries, keys and values, the output
        of attention, and of the MLP what goes into the activation and comes out (2 f).
        """
        d, q, k, f = self.width, self.queries, self.keys, self.hidden
        if self.kind == "neox":
            return 3 * d + 2 * q + 2 * k + 2 * f
        return 4 * d + 2 * q + 2 * k + 4 * f + (2 * (q + k) if self.kind == "qwen3" else 0)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes, by what they hold.

    Attributes:
        weights: The model, adapters included.
        cache: Keys and values of all rows at full context.
        gradients: Of what is trained.
        optimiser: Both moments of AdamW, in the dtype of the weights, as torch keeps them.
        activations: Kept for the backward pass.
        logits: In float32, of the last tokens (sampling) or of all tokens with their gradient (training).
    """

    weights: float
    cache: float = 0.0
    gradients: float = 0.0
    optimiser: float = 0.0
    activations: float = 0.0
    logits: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return sum(float(getattr(self, f.name)) for f in fields(self))


def memory(
    model: Architecture,
    use: str,
    *,
    dtype: str = "bfloat16",
    rows: int = 32,
    context: int = 1024,
    rank: int = 16,
    checkpointing: bool = True,
) -> Memory:
    """Return the memory that a use of a model needs.

    Args:
        model: Sizes.
        use: "sample", "train" (all parameters, AdamW) or "lora" (adapters on all matrices, AdamW).
        dtype: Of weights, activations, gradients and moments.
        rows: Sequences at once.
        context: Tokens of each, question and answer.
        rank: Of the adapters.
        checkpointing: Whether training keeps only the input of each block and makes the rest anew, block by block.

    Raises:
        InputError: If the use or the dtype is not known, or a number is below 1.
    """
    if use not in USES:
        raise InputError(f"use = '{use}' is not known.{suggest(use, USES)}")
    if dtype not in BYTES:
        raise InputError(f"dtype = '{dtype}' is not known.{suggest(dtype, BYTES)}")
    if min(rows, context, rank) < 1:
        raise InputError(f"rows = {rows}, context = {context}, rank = {rank}: each is at least 1.")
    size, tokens = BYTES[dtype], rows * context
    if use == "sample":
        cache = 2 * model.layers * model.keys * tokens * size
        return Memory(model.parameters() * size, cache=cache, logits=4 * rows * model.vocabulary)
    adapters = model.lora_parameters(rank) if use == "lora" else 0
    trained = adapters or model.parameters()
    kept = model.layers * model.width + model.saved() if checkpointing else model.layers * model.saved()
    return Memory(
        (model.parameters() + adapters) * size,
        gradients=trained * size,
        optimiser=2 * trained * size,
        activations=kept * tokens * size,
        logits=2 * 4 * tokens * model.vocabulary,
    )


# ---------------------------------------------------------------------------------------------------- what is published
_qwen25 = partial(Architecture, kind="qwen2")
_qwen3 = partial(Architecture, kind="qwen3", head_dim=128, vocabulary=151_936, kv_heads=8)
_llama3 = partial(Architecture, kind="llama", kv_heads=8, vocabulary=128_256)


def _pythia(size: str, width: int, layers: int, heads: int, vocabulary: int = 50_304) -> Architecture:
    return Architecture(
        name=f"EleutherAI/pythia-{size}", kind="neox", width=width, layers=layers, heads=heads, kv_heads=heads,
        head_dim=width // heads, hidden=4 * width, vocabulary=vocabulary, tied=False,
    )  # fmt: skip


def _qwen25_of(
    size: str, width: int, layers: int, heads: int, kv_heads: int, head_dim: int, hidden: int
) -> Architecture:
    small = width <= 2048
    return _qwen25(
        name=f"Qwen/Qwen2.5-{size}", width=width, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
        hidden=hidden, vocabulary=151_936 if small else 152_064, tied=small,
    )  # fmt: skip


FAMILIES: Mapping[str, tuple[Architecture, ...]] = {
    "qwen25": (
        _qwen25_of("0.5B", 896, 24, 14, 2, 64, 4864),
        _qwen25_of("1.5B", 1536, 28, 12, 2, 128, 8960),
        _qwen25_of("3B", 2048, 36, 16, 2, 128, 11008),
        _qwen25_of("7B", 3584, 28, 28, 4, 128, 18944),
        _qwen25_of("14B", 5120, 48, 40, 8, 128, 13824),
        _qwen25_of("32B", 5120, 64, 40, 8, 128, 27648),
        _qwen25_of("72B", 8192, 80, 64, 8, 128, 29568),
    ),
    "qwen3": (
        _qwen3(name="Qwen/Qwen3-0.6B-Base", width=1024, layers=28, heads=16, hidden=3072, tied=True),
        _qwen3(name="Qwen/Qwen3-1.7B-Base", width=2048, layers=28, heads=16, hidden=6144, tied=True),
        _qwen3(name="Qwen/Qwen3-4B-Base", width=2560, layers=36, heads=32, hidden=9728, tied=True),
        _qwen3(name="Qwen/Qwen3-8B-Base", width=4096, layers=36, heads=32, hidden=12288, tied=False),
        _qwen3(name="Qwen/Qwen3-14B-Base", width=5120, layers=40, heads=40, hidden=17408, tied=False),
    ),
    "llama3": (
        _llama3(
            name="meta-llama/Llama-3.2-1B-Instruct",
            width=2048,
            layers=16,
            heads=32,
            head_dim=64,
            hidden=8192,
            tied=True,
        ),
        _llama3(
            name="meta-llama/Llama-3.2-3B-Instruct",
            width=3072,
            layers=28,
            heads=24,
            head_dim=128,
            hidden=8192,
            tied=True,
        ),
        _llama3(
            name="meta-llama/Llama-3.1-8B-Instruct",
            width=4096,
            layers=32,
            heads=32,
            head_dim=128,
            hidden=14336,
            tied=False,
        ),
        _llama3(
            name="meta-llama/Llama-3.1-70B-Instruct",
            width=8192,
            layers=80,
            heads=64,
            head_dim=128,
            hidden=28672,
            tied=False,
        ),
    ),
    "pythia": (
        _pythia("70m", 512, 6, 8),
        _pythia("160m", 768, 12, 12),
        _pythia("410m", 1024, 24, 16),
        _pythia("1b", 2048, 16, 8),
        _pythia("1.4b", 2048, 24, 16),
        _pythia("2.8b", 2560, 32, 32),
        _pythia("6.9b", 4096, 32, 32, 50_432),
        _pythia("12b", 5120, 36, 40, 50_688),
    ),
}
"""Name of the policy config -> its models, smallest first."""


SAMPLED, TRAINED = 32, 8
"""Rows at once in the table of needs, each of 1,024 tokens."""


def needs() -> str:
    """Return the memory of all published models as a Markdown table, in GiB at bfloat16."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "| model | parameters | weights | sample | LoRA | train |"
    yield "|---|--:|--:|--:|--:|--:|"
    for family in FAMILIES.values():
        for model in family:
            rows = {"sample": SAMPLED, "lora": TRAINED, "train": TRAINED}
            found = [memory(model, use, rows=n) for use, n in rows.items()]
            numbers = [found[0].weights, *(x.total for x in found)]
            yield f"| {model.name} | {model.parameters():,} | " + " | ".join(f"{x / GIB:.1f}" for x in numbers) + " |"
