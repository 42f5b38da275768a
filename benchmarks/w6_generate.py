"""W6: a small Llama: tokens a second of the bridge's engine beside transformers' own generate, and the FLOPs of both.

    python -m benchmarks.run w6 --rounds 5
    python -m benchmarks.w6_generate group_0.1M --json

16 samples to each of 16 prompts of 33 tokens (``group``), or one to each of 256 prompts of 13 to 53 tokens (``single``,
which pads), 32 new tokens each, float32, every token drawn at temperature 1; the bridge's time includes cutting words
into tokens and reading them back. ``share`` is the share of the matrix-product peak measured in the same rounds: the
floor of the time is that share of it. With one thread the time is that of the processor.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.w5_transformer import PEAK_SIZE, Run, peak, seconds_of

TITLE, UNIT = "W6 language models", "tokens"
VOCAB, NEW, SAMPLES, ROWS = 64, 32, 16, 256
SIZES = {"0.1M": (64, 2, 4), "1M": (128, 5, 4)}


@dataclass(frozen=True, slots=True)
class Work:
    """What is done in a run.

    Attributes:
        name: "group" or "single", and the size.
        width: Of the model; its MLP is twice as wide.
        layers: Of the model.
        heads: Of queries, and of keys and values.
        prompts: Tokens of each prompt.
        samples: Of each prompt.
    """

    name: str
    width: int
    layers: int
    heads: int
    prompts: tuple[int, ...]
    samples: int

    @property
    def tokens(self) -> int:
        """Sampled tokens."""
        return len(self.prompts) * self.samples * NEW

    @property
    def flops(self) -> float:
        """FLOPs of the matrix products: each prompt once, each sample its own tokens."""
        fed = [(n, 1) for n in self.prompts] + [(NEW - 1, self.samples)] * len(self.prompts)
        dense = 2 * self.layers * (4 + 3 * 2) * self.width**2
        read = sum(n * rows for n, rows in fed) * dense + self.tokens * 2 * self.width * VOCAB
        seen = sum(n * n / 2 + self.samples * NEW * (n + NEW / 2) for n in self.prompts)
        return read + 4 * self.layers * self.width * seen


def works() -> dict[str, Work]:
    """Return the cases."""
    cases = {"group": ((33,) * (ROWS // SAMPLES), SAMPLES), "single": (tuple(13 + i % 41 for i in range(ROWS)), 1)}
    return {f"{c}_{s}": Work(f"{c}_{s}", *SIZES[s], *cases[c]) for s in SIZES for c in cases}


def save(work: Work, folder: Path) -> Any:
    """Save a random Llama without an end token, and a tokenizer of one-word tokens; return the model."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": work.width, "intermediate_size": 2 * work.width, "num_hidden_layers": work.layers}
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB, num_attention_heads=work.heads, **sizes, **ends))
    model.save_pretrained(folder)
    return model.eval()


def bridge(work: Work, folder: Path) -> Run:
    """Return a run of the bridge's engine on questions of the right length."""
    from llm_bridge.backends.base import Request, Sampling
    from llm_bridge.settings import ModelSettings

    engine = ModelSettings(models=(str(folder),), device="cpu", batch=ROWS, store=False).open()
    asked = [" ".join(f"w{(i + 7 * t) % VOCAB}" for t in range(n)) for i, n in enumerate(work.prompts)]

    def run(seed: int) -> list[int]:
        requests = [Request(q, work.samples, seed * ROWS + i) for i, q in enumerate(asked)]
        return [c.tokens for got in engine.generate(requests, Sampling(1.0, NEW)) for c in got]

    return run


def plain(work: Work, model: Any) -> Run:
    """Return a run of transformers' generate on the same prompts, padded at the left in one batch."""
    longest = max(work.prompts)
    ids = torch.tensor(
        [[0] * (longest - n) + [(i + 7 * t) % VOCAB for t in range(n)] for i, n in enumerate(work.prompts)]
    )
    mask = torch.tensor([[0] * (longest - n) + [1] * n for n in work.prompts])
    rule = {"do_sample": True, "top_k": 0, "max_new_tokens": NEW, "num_return_sequences": work.samples}

    @torch.inference_mode()
    def run(seed: int) -> list[int]:
        torch.manual_seed(seed)
        out = model.generate(ids, attention_mask=mask, **rule)
        return [out.shape[1] - longest] * len(out)

    return run


def race(work: Work, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Check and time both in turns; return a row for each."""
    clock = time.process_time if threads == 1 else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        model = save(work, Path(folder))
        runs = {"bridge hf": bridge(work, Path(folder)), "transformers generate": plain(work, model)}
        wrong = {name: None if run(1) == [NEW] * ROWS else "not the tokens asked for" for name, run in runs.items()}
        runs["peak"] = peak(False)
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(rounds):
            for name, run in runs.items():
                taken[name].append(seconds_of(run, 2 + turn, clock))
    best = {name: min(own) for name, own in taken.items()}
    floor = work.flops * best["peak"] / (2 * PEAK_SIZE**3)
    return [
        {
            "case": work.name, "entry": name, "wrong": wrong[name], "rate": work.tokens / best[name],
            "share": floor / best[name], "over_peer": best["transformers generate"] / best[name],
        }
        for name in wrong
    ]  # fmt: skip


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a markdown table."""
    lines = ["| case | entry | tokens/s | share of peak | over transformers | check |", "|---" * 6 + "|"]
    for row in rows:
        figures = f"{row['rate']:.3g} | {100 * row['share']:.1f} % | {row['over_peer']:.2f}"
        lines.append(f"| {row['case']} | {row['entry']} | {figures} | {row['wrong'] or 'ok'} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the cases; 1 if any result was wrong."""
    known = works()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.w6_generate", description=TITLE)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(known)}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    unknown = set(args.cases) - set(known)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    torch.set_num_threads(args.threads)
    rows = [row for name in args.cases or known for row in race(known[name], args.rounds, args.threads)]
    if args.json:
        print("\n".join(json.dumps({"workload": "w6", "unit": UNIT, "threads": args.threads, **r}) for r in rows))
    else:
        print(f"## {TITLE}\n\n{table(rows)}")
    return int(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
