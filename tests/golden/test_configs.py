"""Resolved configurations of the shipped studies, so that a changed default is seen in review.

Rewrite them with ``python -m tests.golden.test_configs``.
"""

import json
from pathlib import Path

import pytest

from rlaws.catalogue import conf_dir, names

FOLDER = Path(__file__).parent / "configs"
PLACES = ("out", "report", "data_dir", "json", "engine")  # no number depends on them


def values(study):
    """Compose one study with nothing from this machine in it."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("run", [f"study={study}", "data_dir=data"]), resolve=True)


def composed(study):
    kept = {k: v for k, v in values(study).items() if k not in PLACES}
    return json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def path(study):
    return FOLDER / f"{study.replace('/', '.')}.json"


@pytest.mark.parametrize("study", names("study"))
def test_a_study_is_what_it_was(study):
    assert path(study).exists(), "a new study: run python -m tests.golden.test_configs"
    assert composed(study) == path(study).read_text(encoding="utf-8"), "changed; if meant, rewrite the golden files"


def test_no_golden_file_is_left_over():
    assert {p.name for p in FOLDER.glob("*.json")} == {path(s).name for s in names("study")}


@pytest.mark.parametrize("study", names("study"))
def test_a_study_is_valid(study):
    """Laws, roles, parameters, units and targets fit together, without measuring anything."""
    from rlaws.schema import to_study, validate

    made = to_study(validate(values(study)))
    assert made.cells()
    assert set(made.units()) == set(made.grid)


def main():
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for study in names("study"):
        path(study).write_text(composed(study), encoding="utf-8")


if __name__ == "__main__":
    main()
