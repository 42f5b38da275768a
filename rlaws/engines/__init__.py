"""Engines beside the local one: each is one file, and imports what it needs when it runs."""
