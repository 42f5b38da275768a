"""The bridge: language models behind the protocols of the core, so that every probe runs on them unchanged."""
