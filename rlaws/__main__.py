"""``python -m rlaws``."""

from rlaws.cli import main

main()
