"""Engines that run a language model, behind one protocol (``llm_bridge.backends.base``)."""
