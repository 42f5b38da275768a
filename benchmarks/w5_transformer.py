"""W5: a small transformer: training and sampling, tokens a second, beside plain torch and transformers' generate.

    python -m benchmarks.run w5 --rounds 5
    python -m benchmarks.w5_transformer train_1M sample_1M --json

Training: steps of AdamW on 256 rows of 64 tokens, vocabulary 64. Sampling: 256 rows of 64 tokens, from one token on
(``sample``), or 16 samples to each of 16 prompts of 32 tokens (``group``). Entries take turns. With one thread the time
is that of the processor, so that other programs on the machine disturb it less; the rate is that of the fastest round.
``share`` is the share of the matrix-product peak of the same precision, measured in the same rounds; ``over peer`` the
rate over that of the best peer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.run import Skip
from toymodels.config import Config
from toymodels.flops import rollout_flops, update_flops
from toymodels.model import Decoder
from toymodels.sampling import generate, score

TITLE, UNIT = "W5 small transformer", "tokens"
VOCAB, TOKENS, ROWS = 64, 64, 256
SIZES = {"0.1M": (64, 2, 2), "1M": (128, 5, 4), "10M": (384, 6, 6)}
PIECE = 4096  # tokens of a forward and backward pass: what lies between the layers stays in the processor's cache
LEARNING_RATE = 1e-4  # so small that the loss on a batch falls from the first step on, which is what is checked
LONGEST_S = 20.0  # an entry that has taken this long in all is not timed again
Run = Callable[[int], Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What is done in a run.

    Attributes:
        name: "train", "sample" or "group", and the size.
        config: Sizes of the model.
        rows: Rows of a step, or rows sampled.
        prompts: Different prompts.
        prompt: Tokens of each.
        steps: Training steps.
    """

    name: str
    config: Config
    rows: int = ROWS
    prompts: int = ROWS
    prompt: int = 1
    steps: int = 1

    @property
    def new(self) -> int:
        """Sampled tokens of a row."""
        return self.config.context - self.prompt

    @property
    def tokens(self) -> int:
        """Tokens trained on or sampled."""
        training = self.name.startswith("train")
        return self.rows * (self.steps * self.config.context if training else self.new)

    @property
    def flops(self) -> float:
        """FLOPs of its matrix products (those of ``toymodels``; the peers' differ by less than 5 %)."""
        if self.name.startswith("train"):
            return self.steps * update_flops(self.config, self.config.context, self.rows)
        return self.prompts * rollout_flops(self.config, self.prompt, [self.new] * (self.rows // self.prompts))


def works() -> dict[str, Work]:
    """Return the cases."""
    found = {}
    for size, (width, layers, heads) in SIZES.items():
        config = Config(vocab=VOCAB, context=TOKENS, width=width, layers=layers, heads=heads)
        found[f"train_{size}"] = Work(f"train_{size}", config, steps=2 if size == "10M" else 3)
        found[f"sample_{size}"] = Work(f"sample_{size}", config)
        found[f"group_{size}"] = Work(f"group_{size}", config, prompts=16, prompt=32)
    return found


# ------------------------------------------------------------------------------------------------------------- training
def rows_of(work: Work, seed: int) -> Tensor:
    """x_{t+1} = 5 x_t + 3 modulo V, one token in ten replaced by another: [rows, T + 1]."""
    rng, v = np.random.default_rng(seed), work.config.vocab
    x = rng.integers(0, v, (work.rows, work.config.context + 1))
    kept = rng.random(x.shape) >= 0.1
    for t in range(work.config.context):
        x[:, t + 1] = np.where(kept[:, t], (5 * x[:, t] + 3) % v, x[:, t + 1])
    return torch.from_numpy(x)


def trainer(work: Work, model: nn.Module, bf16: bool, piece: int) -> Run:
    """Return a run that takes its steps on one batch, in pieces of ``piece`` rows; its first and its last loss."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)

    def step(x: Tensor) -> float:
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for part in x.split(piece):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(part[:, :-1])
            flat = logits.float().flatten(0, 1)
            loss = F.cross_entropy(flat, part[:, 1:].flatten(), reduction="sum") / x[:, 1:].numel()
            loss.backward()
            total += loss.item()
        optimiser.step()
        return total

    def run(seed: int) -> tuple[float, float]:
        x = rows_of(work, seed)
        losses = [step(x) for _ in range(work.steps)]
        return losses[0], losses[-1]

    return run


class PlainTransformer(nn.Module):
    """What one puts together from torch's own layers: learned positions, LayerNorm, GELU, 12 D^2 a layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.width
        self.token, self.position = nn.Embedding(config.vocab, d), nn.Embedding(config.context, d)
        nn.init.normal_(self.token.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            d, config.heads, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True, bias=False
        )
        self.body = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(d), enable_nested_tensor=False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(config.context)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.token(x) + self.position.weight[: x.shape[1]]
        return self.body(hidden, mask=self.mask, is_causal=True) @ self.token.weight.T


def train_ours(work: Work, bf16: bool) -> Run:
    return trainer(work, Decoder(work.config, 0), bf16, PIECE // work.config.context)


def train_torch(work: Work, bf16: bool) -> Run:
    return trainer(work, PlainTransformer(work.config), bf16, work.rows)


def check_training(result: tuple[float, float], bf16: bool) -> str | None:
    first, last = result
    return None if np.isfinite(last) and last < first else f"loss went from {first:.3f} to {last:.3f}"


# ------------------------------------------------------------------------------------------------------------- sampling
def prompts_of(work: Work) -> Tensor:
    return (torch.arange(work.prompts * work.prompt) % work.config.vocab).view(work.prompts, work.prompt)


def sample_ours(work: Work, bf16: bool) -> Run:
    """Return tokens [R, T], and how far the cache's log-probabilities are off those of a fresh forward pass."""
    model = Decoder(replace(work.config, dtype="bfloat16" if bf16 else "float32"), 0)
    prompts, n = prompts_of(work), work.rows // work.prompts

    def run(seed: int) -> tuple[Tensor, float]:
        got = generate(model, prompts, n, work.new, torch.Generator().manual_seed(seed))
        if seed != 1:  # the untimed run is checked
            return got.tokens, 0.0
        with torch.no_grad():
            off = (got.logprobs - score(model, got.tokens, got.prompt_lengths)).abs().max()
        return got.tokens, float(off)

    return run


def sample_transformers(work: Work, bf16: bool) -> Run:
    """LlamaForCausalLM of the same width and depth: ``generate`` with its cache."""
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        raise Skip("transformers is not installed") from None
    c = work.config
    sizes = {"vocab_size": c.vocab, "hidden_size": c.width, "intermediate_size": c.width * 8 // 3}
    heads = {"num_hidden_layers": c.layers, "num_attention_heads": c.heads, "max_position_embeddings": c.context}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, bos_token_id=0, eos_token_id=None, pad_token_id=0)).eval()
    model = model.to(torch.bfloat16) if bf16 else model
    prompts, n = prompts_of(work), work.rows // work.prompts
    rule = {"do_sample": True, "top_k": 0, "use_cache": True, "num_return_sequences": n}

    @torch.inference_mode()
    def run(seed: int) -> tuple[Tensor, float]:
        torch.manual_seed(seed)
        ones = torch.ones_like(prompts)
        out = model.generate(prompts, attention_mask=ones, min_new_tokens=work.new, max_new_tokens=work.new, **rule)
        return out, 0.0

    return run


def check_sampling(result: tuple[Tensor, float], bf16: bool) -> str | None:
    tokens, off = result
    if tuple(tokens.shape) != (ROWS, TOKENS) or int(tokens.max()) >= VOCAB:
        return f"tokens are {tuple(tokens.shape)} up to {int(tokens.max())}"
    allowed = 0.05 if bf16 else 1e-5  # neighbouring bfloat16 numbers between 2 and 4 are 0.016 apart
    return None if off < allowed else f"log-probabilities are off by {off:.1e}"


# ------------------------------------------------------------------------------------------------------------ the race
ENTRIES: Mapping[str, Mapping[str, Callable[[Work, bool], Run]]] = {
    "train": {"toymodels": train_ours, "torch layers": train_torch},
    "sample": {"toymodels": sample_ours, "transformers generate": sample_transformers},
}
PEAK_SIZE = 1024


def peak(bf16: bool) -> Run:
    """Return a run of one matrix product of two PEAK_SIZE squares."""
    kind = torch.bfloat16 if bf16 else torch.float32
    a, b = torch.randn(2, PEAK_SIZE, PEAK_SIZE, generator=torch.Generator().manual_seed(0)).to(kind)
    return lambda seed: a @ b


def seconds_of(run: Run, seed: int, clock: Callable[[], float]) -> float:
    start = clock()
    run(seed)
    return clock() - start


def race(work: Work, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Check and time every entry in turns; return a row for each."""
    kind = "train" if work.name.startswith("train") else "sample"
    check = check_training if kind == "train" else check_sampling
    clock = time.process_time if threads == 1 else time.perf_counter
    rows, runs = [], {}
    for name, make in ENTRIES[kind].items():
        for bf16 in (False, True):
            row = {"case": work.name, "entry": name, "bf16": bf16, "wrong": None, "skipped": None}
            rows.append(row)
            try:
                run = make(work, bf16)
                row["wrong"] = check(run(1), bf16)
                runs[name, bf16] = run
            except Skip as reason:
                row["skipped"] = str(reason)
    peaks = {bf16: peak(bf16) for bf16 in (False, True)}
    taken: dict[Any, list[float]] = {key: [] for key in (*runs, *peaks)}
    for turn in range(rounds):
        for key, run in [*runs.items(), *peaks.items()]:
            if sum(taken[key]) < LONGEST_S:
                taken[key].append(seconds_of(run, 2 + turn, clock))
    best = {key: min(own) for key, own in taken.items()}
    return [_figures(row, work, best) for row in rows]


def _figures(row: dict[str, Any], work: Work, best: Mapping[Any, float]) -> dict[str, Any]:
    """Add rate, share of the peak, and the ratio to the best peer in any precision."""
    key = (row["entry"], row["bf16"])
    if key in best:
        rival = min((s for k, s in best.items() if isinstance(k, tuple) and k[0] != "toymodels"), default=None)
        row["rate"] = work.tokens / best[key]
        row["share"] = work.flops / best[key] / (2 * PEAK_SIZE**3 / best[row["bf16"]])
        row["over_peer"] = rival / best[key] if rival else None
    return row


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a markdown table."""
    lines = ["| case | entry | precision | tokens/s | share of peak | over peer | check |", "|---" * 7 + "|"]
    for row in rows:
        kind = "bfloat16" if row["bf16"] else "float32"
        head = f"| {row['case']} | {row['entry']} | {kind} |"
        if row["skipped"]:
            lines.append(f"{head} skipped: {row['skipped']} | | | |")
            continue
        over = "" if row["over_peer"] is None else f"{row['over_peer']:.2f}"
        lines.append(f"{head} {row['rate']:.3g} | {100 * row['share']:.0f} % | {over} | {row['wrong'] or 'ok'} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the cases; 1 if any result was wrong."""
    known = works()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.w5_transformer", description=TITLE)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(known)}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    unknown = set(args.cases) - set(known)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    torch.set_num_threads(args.threads)
    wrong = False
    if not args.json:
        print(f"## {TITLE}\n")
    for name in args.cases or known:
        rows = race(known[name], args.rounds, args.threads)
        wrong = wrong or any(row["wrong"] for row in rows)
        text = [json.dumps({"workload": "w5", "unit": UNIT, "threads": args.threads, **r}) for r in rows]
        print("\n".join(text) if args.json else table(rows), flush=True)
    return int(wrong)


# ---------------------------------------------------------------- for a harness with its own description of the work
def _from_spec(spec: Mapping[str, Any]) -> Work:
    """Build the work from {kind, d, heads, layers, vocab, seq, batch, steps}."""
    config = Config(
        vocab=spec["vocab"], context=spec["seq"], width=spec["d"], layers=spec["layers"], heads=spec["heads"]
    )
    return Work(spec["kind"], config, rows=spec["batch"], prompts=spec["batch"], steps=spec.get("steps", 1))


def setup_train(spec: Mapping[str, Any], threads: int) -> Run:
    """Training, bfloat16 by autocast."""
    torch.set_num_threads(threads)
    return train_ours(_from_spec(spec), True)


def setup_sample(spec: Mapping[str, Any], threads: int) -> Run:
    """Sampling with the cache, float32."""
    torch.set_num_threads(threads)
    return sample_ours(_from_spec(spec), False)


def setup_sample_bf16(spec: Mapping[str, Any], threads: int) -> Run:
    """Sampling with the cache, parameters in bfloat16."""
    torch.set_num_threads(threads)
    return sample_ours(_from_spec(spec), True)


if __name__ == "__main__":
    sys.exit(main())
