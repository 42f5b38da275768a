"""Detection by content, folders, joined files, columns and warnings, and memory on a large file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.logs import detection
from rlaws.logs.dialects import dialect, dialects
from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.importing import WARNINGS, import_runs
from rlaws.logs.runs import Run
from tests.logs.conftest import Write

CONSOLE = "".join(f"step:{s} - critic/score/mean:{s / 8} - critic/rewards/mean:{s / 16}\n" for s in range(1, 5))


def _jsonl(steps: range, **values: float) -> str:
    return "".join(json.dumps({"step": s, "data": {k: v + s for k, v in values.items()}}) + "\n" for s in steps)


class _Other:
    """A dialect for tests: lines with the word "other"."""

    NAME: ClassVar[str] = "other"
    TITLE: ClassVar[str] = "lines of another"
    NEEDS: ClassVar[str] = "the word other"
    KEYS: ClassVar[tuple[Key, ...]] = (Key("new", "kl_ref"), Key("old", "kl_ref"), Key("share", "trunc_frac"))
    sure: float = 0.95

    def sniff(self, head: Head) -> float:
        return self.sure if "other" in head.text else 0.0

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        for at, line in enumerate(path.read_text().splitlines(), start=1):
            _, *pairs = line.split()
            yield Record(float(at), {key: float(text) for key, text in (pair.split("=") for pair in pairs)}, at)
            for i in range(WARNINGS if at == 1 else 0):
                warn(f"remark {i}")


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> _Other:
    added = _Other()
    monkeypatch.setattr(detection, "dialects", lambda: {**dialects(), "other": added})
    return added


def test_the_name_of_a_file_decides_nothing(write: Write) -> None:
    for name in ("trainer_state.json", "metrics.jsonl", "export.csv", "x"):
        (run,) = import_runs([write(name, CONSOLE)])
        assert run.dialect == "verl"
        assert run.columns["reward_task"].values.tolist() == [0.125, 0.25, 0.375, 0.5]


def test_a_long_preamble_does_not_hide_the_log(write: Write) -> None:
    (run,) = import_runs([write("log", "INFO loading\n" * 20_000 + CONSOLE + "bye\n" * 30_000)])
    assert run.step.tolist() == [1, 2, 3, 4]
    (run,) = import_runs([write("log", "INFO loading\n" * 20_000 + CONSOLE)])
    assert run.dialect == "verl"


def test_what_is_not_known_names_the_nearest_and_the_way_out(write: Write, other: _Other) -> None:
    other.sure = 0.4
    with pytest.raises(InputError) as caught:
        import_runs([write("notes.txt", "other notes of the day\n")])
    text = str(caught.value)
    assert "Nearest: other (lines of another) needs the word other" in text
    assert "mapping file" in text
    with pytest.raises(InputError, match=r"no dialect that is known \(.*verl.*\).*mapping file"):
        import_runs([write("notes.txt", "just some words\n")])
    with pytest.raises(InputError, match="no dialect that is known"):
        import_runs([write("noise.bin", bytes(range(256)) * 300)])


def test_a_tie_is_refused_and_can_be_settled(write: Write, other: _Other) -> None:
    path = write("log", CONSOLE + "other\n")
    with pytest.raises(InputError, match="could be other or verl; say which with dialect=other"):
        import_runs([path])
    (run,) = import_runs([path], dialect="verl")
    assert run.dialect == "verl"


def test_wrong_names_are_refused(write: Write) -> None:
    path = write("log", CONSOLE)
    with pytest.raises(InputError, match=r"no log dialect 'verll'. Did you mean 'verl'"):
        import_runs([path], dialect="verll")
    with pytest.raises(InputError, match="holds no training logs"):
        import_runs([path], dialect="counts_table")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        import_runs([path.with_name("absent")])
    with pytest.raises(InputError, match="neither a file nor a folder"):
        import_runs([path.with_name("absent")], dialect="verl")
    with pytest.raises(InputError, match="0 bytes"):
        import_runs([write("empty", "")])
    with pytest.raises(InputError, match="nothing to import"):
        import_runs([])
    with pytest.raises(InputError, match="answers per problem"):
        import_runs([write("c.csv", "model,problem,n,c\na,1,4,2\n")])
    assert dialect("verl").NAME == "verl"


def test_a_folder_is_walked_and_what_is_no_log_passed_over(write: Write) -> None:
    write("runs/a/console.log", CONSOLE)
    write("runs/b/metrics.jsonl", _jsonl(range(3), **{"actor/entropy": 0.5}))
    write("runs/b/notes.txt", "words")
    write("runs/.git/config", CONSOLE)
    folder = write("runs/empty.log", "").parent
    runs = import_runs([folder])
    assert [(run.name, run.dialect) for run in runs] == [("console", "verl"), ("metrics", "verl_jsonl")]
    with pytest.raises(InputError, match="No file below"):
        import_runs([write("none/notes.txt", "words").parent])


def test_a_crashed_run_does_not_stop_the_others_if_somebody_is_told(write: Write) -> None:
    write("runs/a.log", CONSOLE)
    folder = write("runs/b.log", "actor_rollout_ref ppo_mini_batch_size\nout of memory\n").parent
    with pytest.raises(InputError, match=r"b\.log: no record of console log of verl"):
        import_runs([folder])
    failed: list[str] = []
    assert [run.name for run in import_runs([folder], failed=failed.append)] == ["a"]
    assert len(failed) == 1
    assert "b.log" in failed[0]


def test_rotated_files_join_to_one_run_and_a_resume_is_stitched(write: Write) -> None:
    one = write("a.jsonl", _jsonl(range(1, 9), **{"critic/score/mean": 0.0}))
    two = write("b.jsonl", _jsonl(range(6, 12), **{"critic/score/mean": 0.5}))
    (run,) = import_runs([one, two], join=True)
    assert run.step.tolist() == list(range(1, 12))
    assert run.columns["reward_task"].values.tolist() == [1, 2, 3, 4, 5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5]
    assert run.columns["segment"].values.tolist() == [1] * 5 + [2] * 6
    assert run.segments[0].replaced == (6, 7, 8)
    assert run.sources == (str(one), str(two))
    assert len(import_runs([one, two])) == 2
    with pytest.raises(InputError, match="Leave out join"):
        import_runs([one, write("log", CONSOLE)], join=True)


def test_of_two_keys_for_one_column_the_preferred_one_counts(write: Write, other: _Other) -> None:
    path = write("log", "other old=1 new=2\nother old=3\nother new=4 old=4\nother share=1.5\n")
    (run,) = import_runs([path])
    column = run.columns["kl_ref"]
    assert column.values.tolist()[:3] == [2.0, 3.0, 4.0]
    assert column.present.tolist() == [True, True, True, False]
    assert column.keys == ("new", "old")
    assert any("old and new both say kl_ref and differ at 1 steps; new counts" in text for text in run.warnings)
    assert any("trunc_frac has 1 values outside 0 to 1 (first: 1.5 at step 4)" in text for text in run.warnings)


def test_remarks_are_kept_once_and_not_without_end(write: Write, other: _Other) -> None:
    (run,) = import_runs([write("log", "other new=1\n")])
    assert sum(text.startswith("remark") for text in run.warnings) == WARNINGS


def test_three_kl_divergences_two_rewards_and_two_entropies_stay_apart(write: Write) -> None:
    keys = {
        "actor/ppo_kl": ("kl_old_new", 0.1),
        "actor/kl_loss": ("kl_ref", 0.2),
        "rollout_corr/kl": ("kl_sampler_trainer", 0.3),
        "critic/score/mean": ("reward_task", 0.4),
        "critic/rewards/mean": ("reward_train", 0.5),
        "actor/entropy": ("entropy_token", 0.6),
        "perf/total_num_tokens": ("tokens_step", 700.0),
        "actor/pg_clipfrac": ("clip_total", 0.8),
        "actor/pg_clipfrac_lower": ("clip_dual", 0.9),
    }
    rows = "".join(json.dumps({"step": s, "data": {k: v for k, (_, v) in keys.items()}}) + "\n" for s in range(2))
    (run,) = import_runs([write("x", rows)])
    assert {name: column.values[0] for name, column in run.columns.items()} == dict(keys.values())


def test_a_total_that_falls_is_told(write: Write) -> None:
    (run,) = import_runs([write("t.csv", "step,tokens_cum\n1,100\n2,200\n3,50\n")])
    assert any("tokens_cum is a total and yet falls at step 3" in text for text in run.warnings)


def test_every_byte_is_told(write: Write) -> None:
    told: list[int] = []
    rows = write("x.jsonl", _jsonl(range(50), **{"actor/lr": 1.0}))
    import_runs([rows], tell=told.append)
    assert sum(told) == rows.stat().st_size


def _column(run: Run, name: str) -> np.ndarray:
    return run.column(name).values


def test_a_missing_column_is_named(write: Write) -> None:
    (run,) = import_runs([write("log", CONSOLE)])
    with pytest.raises(InputError, match=r"no column 'reward_tsk'. Did you mean 'reward_task'"):
        _column(run, "reward_tsk")


LARGE = """
import resource, sys
from rlaws.logs.dialects import dialects
from rlaws.logs.importing import import_runs
dialects()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_DATA, (700 << 20, 700 << 20))
(run,) = import_runs([sys.argv[1]])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(run.step.size, len(run.columns), len(run.unknown()), after - before)
"""


def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    """50 MB of lines as verl writes them: memory grows by less than half of the file."""
    path = tmp_path / "run.jsonl"
    aside = {f"timing_s/part{i}": 0.123456789012345 for i in range(25)}
    kept = {"critic/score/mean": 0.12345678901234, "actor/entropy": 0.3456789012345, "actor/kl_loss": 0.0001234567}
    text = json.dumps({**kept, **aside})
    with path.open("w") as file:
        steps = 0
        while file.tell() < 50_000_000:
            file.write("".join(f'{{"step": {s}, "data": {text}}}\n' for s in range(steps, steps + 500)))
            steps += 500
    command = [sys.executable, "-c", LARGE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    size, columns, unknown, grown = map(int, done.stdout.split())
    assert (size, columns, unknown) == (steps, 3, 0)
    assert grown < 25_000  # KiB


def test_the_public_console_log_is_understood_whole(data: Path) -> None:
    """github.com/eric-haibin-lin/verl-data: PPO, Qwen2.5-0.5B, GSM8K; the scores stand in its lines."""
    path = data / "verl-ppo-log" / "console.log"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    (run,) = import_runs([path])
    score = run.columns["eval[set=openai/gsm8k,metric=score]"]
    at = run.step[score.present]
    assert run.unknown() == ()
    assert (run.dialect, run.step.size, run.gaps, run.duplicates) == ("verl", 435, (), ())
    assert (at[0], score.values[score.present][0]) == (9, 0.013)
    assert score.values[run.step == 379].tolist() == [0.567]
    assert np.nanmax(score.values) == 0.579
    assert np.unique(np.diff(at)).tolist() == [10]
    np.testing.assert_allclose(run.columns["lr"].values, 1e-6)


def test_the_public_export_of_w_and_b_is_understood_whole(data: Path) -> None:
    """github.com/josancamon19/rl-scaling-laws: GSM8K accuracy of five sizes of Qwen3 under GRPO."""
    path = data / "qwen3-gsm8k-grpo" / "wandb_export.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    name = "eval[set=gsm8k,metric=mean]"
    runs = {run.name.partition(": ")[2]: run for run in import_runs([path], metric=name)}
    sizes = {size: run.step.size for size, run in runs.items()}
    assert sizes == {"0.6b": 14, "14b": 55, "8b": 14, "4b": 14, "1.7b": 14}
    for run in runs.values():
        assert run.unknown() == ()
        assert run.columns[name].present.all()
    assert runs["0.6b"].columns[name].values[[0, -1]].tolist() == [0.037149355572403335, 0.6868840030326004]
    with pytest.raises(InputError, match="does not name the metric"):
        import_runs([path])
