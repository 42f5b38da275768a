"""A model by name: found as a directory, told apart by a hash of its files, loaded once in a process.

A model is an ordinary directory as ``save_pretrained`` writes it. A hub id becomes one by a download, or from the hub's
own cache where this machine is offline; "ladder:<rung>" is trained here (``llm_bridge.ladder``).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaws.errors import InputError

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings

FILES = ("*.safetensors", "*.json", "*.jinja", "*.model")
"""What makes a model: its weights, configuration, tokenizer and template."""
KEPT = 2 * 2**30
"""Bytes of weights that stay loaded beside the one in use: many of a small ladder, one large model."""
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
LADDER = "ladder:"
PLAIN_END = "\n"
"""What stands between question and answer where there is no chat template."""
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model in memory with the words it reads.

    Attributes:
        model: A ``transformers`` causal language model, in evaluation mode.
        tokenizer: Its fast tokenizer.
        revision: Hash of the files of model and adapter.
        device: Where it lies, "cpu" or "cuda".
        ends: Tokens that end an answer.
        context: Most tokens of prompt and answer together, or None where the model sets no limit.
    """

    model: Any
    tokenizer: Any
    revision: str
    device: str
    ends: frozenset[int] = field(default_factory=frozenset)
    context: int | None = None

    def chats(self, template: str) -> bool:
        """Return whether a question is put through the chat template.

        Raises:
            InputError: If the template is asked for and there is none.
        """
        if template == "chat" and not self.tokenizer.chat_template:
            raise InputError(
                "template = chat, but the model has no chat template. Ask it plainly with policy.template=plain "
                "(auto takes the chat template where there is one)."
            )
        return template != "plain" and bool(self.tokenizer.chat_template)

    def prompt(self, question: str, template: str) -> list[int]:
        """Return the tokens of a question, up to where the answer begins."""
        if not self.chats(template):
            return list(self.tokenizer(question + PLAIN_END)["input_ids"])
        turn = [{"role": "user", "content": question}]
        text = self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def answer(self, text: str) -> tuple[list[int], tuple[str, ...]]:
        """Return the tokens of an answer, or of its beginning, and the part of the text that each stands for.

        They are cut apart from the question, so that what a model wrote and what it is shown are one prompt.
        """
        if not text:
            return [], ()
        cut = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ends = [min(end, len(text)) for _, end in cut["offset_mapping"]]
        starts = [0, *ends[:-1]]
        if ends:
            ends[-1] = len(text)
        return list(cut["input_ids"]), tuple(text[a:b] for a, b in zip(starts, ends, strict=True))


# ------------------------------------------------------------------------------------------------------------ finding
def resolve(settings: ModelSettings) -> Path:
    """Return the directory of the model that the settings name.

    Raises:
        InputError: If there is no such model, or it would have to be fetched while this machine is offline.
    """
    name = settings.model
    if name.startswith(LADDER):
        from llm_bridge import ladder

        return Path(ladder.directory(name.removeprefix(LADDER), settings.base_seed))
    folder = Path(name).expanduser()
    if folder.exists():
        return _checked(folder)
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        raise InputError(f"There is no directory '{name}'. A model is a directory, a hub id, or ladder:<rung>.")
    return _checked(_fetched(name, settings.revision))


def _checked(folder: Path) -> Path:
    missing = [f for f in ("config.json", "*.safetensors") if not any(folder.glob(f))]
    if missing:
        raise InputError(
            f"'{folder}' is no model: it has no {' and no '.join(missing)}. Needed are config.json, safetensors "
            "weights and the tokenizer's files, as save_pretrained writes them."
        )
    return folder


def _fetched(name: str, revision: str) -> Path:
    """Return the directory of a hub model: fetched, or from the hub's cache where the hub is out of reach."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError("Language models need: pip install rlaws[llm]") from error
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:  # the hub's errors are of these kinds, and they are pages long
        raise InputError(
            f"'{name}' is neither a directory here nor in the hub's cache, and could not be fetched "
            f"({type(error).__name__}). Fetch it where there is a network (hf download {name}) and give its directory, "
            "or take a model that is trained here: policy.models=[ladder:0.1M]."
        ) from error


def in_hub_cache(settings: ModelSettings) -> Path:
    """Return the directory of a hub model's small files in the hub's cache, without a network; it may not exist."""
    from huggingface_hub import try_to_load_from_cache

    if not HUB_ID.fullmatch(settings.model):
        return Path(settings.model)
    found = try_to_load_from_cache(settings.model, "tokenizer.json", revision=settings.revision or None)
    return Path(found).parent if isinstance(found, str) else Path(settings.model)


def names(settings: ModelSettings) -> dict[str, Any]:
    """Return what a model is called, by which a recording of it is found when the model itself is gone."""
    return {"model": _short(settings.model), "base_seed": settings.base_seed, "adapter": _short(settings.adapter)}


def _short(name: str) -> str:
    """Return the last two parts of a path; a hub id has no more."""
    return "/".join(Path(name).parts[-2:]) if name else ""


def revision(where: Path, adapter: str = "") -> str:
    """Return the hash of what a model's numbers rest on: the files of the model and of an adapter."""
    return _hash(_stamp(where) + (_stamp(adapter_of(adapter)) if adapter else ()))


def adapter_of(name: str) -> Path:
    """Return the directory of a LoRA adapter."""
    folder = Path(name).expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise InputError(f"adapter = '{name}' is no LoRA adapter: it has no adapter_config.json.")
    return folder


def _stamp(folder: Path) -> Stamp:
    """Return which files a model has, and a mark that tells when one has changed."""
    files = sorted({p for pattern in FILES for p in folder.glob(pattern)})
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)


@functools.lru_cache(maxsize=256)
def _hash(stamp: Stamp) -> str:
    total = hashlib.sha256()
    for name, _, _ in stamp:
        path = Path(name)
        total.update(f"{path.name}\0{_file_hash(path)}\n".encode())
    return total.hexdigest()[:16]


def _file_hash(path: Path) -> str:
    blob = path.resolve().name
    if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob):  # the hub's cache names large files so
        return blob
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------------------ loading
_loaded: OrderedDict[tuple[str, str, str], Loaded] = OrderedDict()


def load(where: Path | str, dtype: str = "float32", device: str = "auto", adapter: str = "") -> Loaded:
    """Return a model for inference, loaded once in a process; what trains it must load its own.

    Raises:
        InputError: If the directory holds no model that can be read, or the device is not there.
    """
    folder = _checked(Path(where))
    device = device_of(device)
    key = (revision(folder, adapter), dtype, device)
    if key not in _loaded:
        _make_room()
        _loaded[key] = _read(folder, dtype, device, adapter, key[0])
    _loaded.move_to_end(key)
    return _loaded[key]


def _make_room() -> None:
    """Let go of the models that were used longest ago until the rest is small."""
    while sum(_bytes(other.model.parameters()) for other in _loaded.values()) > KEPT:
        _loaded.popitem(last=False)


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def device_of(name: str) -> str:
    """Return the device that a name means here."""
    torch = libraries()[0]
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device = {name}, but torch sees no GPU here. Use policy.device=cpu.")
    return name


@functools.cache
def versions(*distributions: str) -> str:
    """Return the names and versions of libraries."""
    return ", ".join(f"{name} {version(name)}" for name in distributions)


def libraries() -> tuple[Any, Any]:
    """Return torch and transformers, quiet ones.

    Raises:
        InputError: If they are not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise InputError(f"Language models need: pip install rlaws[llm] ({error.name} is missing).") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return torch, transformers


def _read(folder: Path, dtype: str, device: str, adapter: str, revision: str) -> Loaded:
    torch, transformers = libraries()
    read = tokenizer(folder)
    try:
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # readers of files raise errors of their own; all mean the same to the user
        raise InputError(f"'{folder}' cannot be loaded as a causal language model: {_line(error)}") from error
    if report["missing_keys"]:
        raise InputError(
            f"The weights of '{folder}' lack {sorted(report['missing_keys'])[0]}: they are not those of its "
            "config.json, or of no causal language model."
        )
    known = model.config.get_text_config().vocab_size
    if len(read) > known:
        raise InputError(
            f"The tokenizer of '{folder}' has {len(read)} tokens, its model only {known}: they do not belong together."
        )
    model = _adapted(model, adapter) if adapter else model
    ends = _ends(model.generation_config, read)
    return Loaded(model.to(device).eval(), read, revision, device, ends, _limit(model.config))


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _adapted(model: Any, adapter: str) -> Any:
    """Return the model with a LoRA adapter; in float32 as one matrix, which is faster and the same."""
    from peft import PeftModel

    both = PeftModel.from_pretrained(model, str(adapter_of(adapter)))
    return both.merge_and_unload() if str(model.dtype) == "torch.float32" else both


def _ends(generation: Any, read: Any) -> frozenset[int]:
    named = generation.eos_token_id
    several = named if isinstance(named, list) else [named]
    return frozenset(int(i) for i in [*several, read.eos_token_id] if i is not None)


def _limit(config: Any) -> int | None:
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def words(folder: Path, revision: str = "") -> Loaded:
    """Return what a model reads and how it ends, without its weights: they lie in another process, or elsewhere."""
    _, transformers = libraries()
    read = tokenizer(folder)
    if not (folder / "config.json").is_file():
        return Loaded(None, read, revision, "", frozenset({read.eos_token_id} - {None}))
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    named = transformers.GenerationConfig.from_model_config(config)
    if (folder / "generation_config.json").is_file():
        named = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True)
    return Loaded(None, read, revision, "", _ends(named, read), _limit(config))


def tokenizer(folder: Path) -> Any:
    """Return a model's fast tokenizer, which cuts words as the saved one does.

    ``AutoTokenizer`` puts its own way of cutting into some architectures (Qwen2), and then a tokenizer that was trained
    for one model reads other tokens than its model learned; so the file itself is read.

    Raises:
        InputError: If there is no tokenizer.json, or it does not give back what it was given.
    """
    _, transformers = libraries()
    if not (folder / "tokenizer.json").is_file():
        raise InputError(
            f"'{folder}' has no tokenizer.json (a fast tokenizer). transformers writes one with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)."
        )
    read = transformers.PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    _refuse_if_changed(folder, read)
    return read


TRIAL = "Compute 12 + 34 = 46 modulo 2026.\n\nStep 1: x <- 7 * x;  it's 5"


def _refuse_if_changed(folder: Path, read: Any) -> None:
    from tokenizers import Tokenizer

    saved = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TRIAL, add_special_tokens=False).ids
    now = read(TRIAL, add_special_tokens=False)["input_ids"]
    if saved != now:
        raise InputError(
            f"transformers reads the tokenizer of '{folder}' otherwise than it was saved: {now[:8]}… instead of "
            f"{saved[:8]}…. Save it as a PreTrainedTokenizerFast."
        )
