"""Which model runs in which engine, as flat settings that a grid can vary and ``backend=`` can set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlaws.errors import InputError, suggest

if TYPE_CHECKING:
    from llm_bridge.backends.base import Backend

BACKENDS = ("hf", "vllm", "server", "replay")
DTYPES = ("float32", "bfloat16", "float16")
TEMPLATES = ("auto", "chat", "plain")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """One model of a family, in an engine.

    Attributes:
        models: The family, smallest first. Each is a directory, a hub id, or "ladder:<rung>", a model that is trained
            here from scratch (``llm_bridge.ladder``).
        rung: Which of them; negative ones count from the largest.
        base_seed: Which of the independent bases of a rung of the ladder; published models have one, 0.
        revision: Of a hub id; "" for the newest.
        adapter: Directory of a LoRA adapter on top, or "".
        backend: Engine: "hf" (transformers), "vllm", "server" (any OpenAI-compatible endpoint) or "replay" (recorded
            samples).
        dtype: Of weights and activations.
        device: "auto" takes a GPU where there is one.
        batch: Most rows in one forward pass of "hf"; halved when memory runs out.
        template: "chat" (the model's own template), "plain" (the question and a line break), or "auto" (chat where the
            model has a template).
        endpoint: Address of "server", http://host:port/v1.
        served: Name of the model at the endpoint; "" for the only one that it serves.
        key_variable: Environment variable with the endpoint's key; the key is never stored or shown.
        concurrency: Most requests in flight at an endpoint.
        timeout: Seconds for one request.
        retries: Tries after the first for a request that an endpoint failed.
        tensor_parallel: GPUs of the node that "vllm" splits a model over.
        memory: Share of a GPU that "vllm" may take.
        recorded: Folder of samples that "replay" reads; "" for this machine's own store.
        store: Whether samples are kept before they are graded, so that nothing is sampled twice.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "models": "name", "rung": "1", "base_seed": "1", "revision": "name", "adapter": "name", "backend": "name",
        "dtype": "name", "device": "name", "batch": "rows", "template": "name", "endpoint": "name", "served": "name",
        "key_variable": "name", "concurrency": "requests", "timeout": "s", "retries": "tries",
        "tensor_parallel": "GPUs", "memory": "1", "recorded": "name", "store": "name",
    }  # fmt: skip
    models: tuple[str, ...] = ("ladder:0.1M", "ladder:0.3M", "ladder:1M")
    rung: int = -1
    base_seed: int = 0
    revision: str = ""
    adapter: str = ""
    backend: str = "hf"
    dtype: str = "float32"
    device: str = "auto"
    batch: int = 512
    template: str = "auto"
    endpoint: str = ""
    served: str = ""
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 16
    timeout: float = 120.0
    retries: int = 4
    tensor_parallel: int = 1
    memory: float = 0.85
    recorded: str = ""
    store: bool = True

    def __post_init__(self) -> None:
        for name, possible in (("backend", BACKENDS), ("dtype", DTYPES), ("template", TEMPLATES)):
            if getattr(self, name) not in possible:
                raise InputError(
                    f"{name} = '{getattr(self, name)}' is not known.{suggest(getattr(self, name), possible)}"
                )
        if not self.models or not -len(self.models) <= self.rung < len(self.models):
            raise InputError(f"rung = {self.rung}: the family has {len(self.models)} models, counted from 0.")
        if self.base_seed and not self.model.startswith("ladder:"):
            raise InputError(
                f"base_seed = {self.base_seed}: '{self.model}' is one base, and a copy of it is no independent run; "
                "give grid.base_seed=[0]."
            )
        if min(self.batch, self.concurrency, self.tensor_parallel) < 1 or self.timeout <= 0 or self.retries < 0:
            raise InputError("batch, concurrency and tensor_parallel are at least 1, timeout is above 0, retries >= 0.")
        if self.backend == "server" and not self.endpoint:
            raise InputError("backend = server needs an address: policy.endpoint=http://127.0.0.1:8000/v1")

    @property
    def model(self) -> str:
        """The model, as the family names it."""
        return self.models[self.rung]

    def open(self) -> Backend:
        """Return the engine with the model in it; one process keeps one engine of each kind of settings."""
        from llm_bridge.backends.opening import opened

        return opened(self)
