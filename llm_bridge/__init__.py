"""The bridge: language models behind the protocols of the core, so that every probe runs on them unchanged."""

import os

# Before anything of Hugging Face is imported: no telemetry, and no warning about threads that forked.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
