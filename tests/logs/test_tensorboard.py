"""TensorBoard: frames and checksums, both forms of a scalar, several files, damage, and the CSV of one tag."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Run
from rlaws.logs.tfrecords import Event, events, fields, framed, masked_crc
from tests.logs import building
from tests.logs.conftest import Write, spread
from tests.logs.samples import trackers

WALL = 1_700_000_000.0


def read(path: Path) -> tuple[list[Event], list[str]]:
    warned: list[str] = []
    told: list[int] = []
    found = list(events(path, told.append, warned.append))
    assert sum(told) <= path.stat().st_size
    return found, warned


def imported(path: Path, **wanted: str) -> Run:
    (run,) = import_runs([path], **wanted)  # type: ignore[arg-type]
    return run


def test_checksum_has_its_published_values() -> None:
    # RFC 3720, B.4: 32 zeros, 32 ones, and the check value of CRC-32C over "123456789".
    for data, crc in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"123456789", 0xE3069283)):
        assert building.crc32c(data) == crc
        assert masked_crc(data) == ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("tensor", [building.tensor_float, building.tensor_double])
def test_both_forms_of_a_scalar(write: Write, tensor: object) -> None:
    body = building.version(WALL) + building.event(WALL + 1, 7, building.simple("a/b", 0.5))
    body += building.event(WALL + 2, 8, building.with_tensor("a/b", tensor(0.25)))  # type: ignore[operator]
    found, warned = read(write("e", body))
    assert [(event.step, event.scalars) for event in found[1:]] == [(7, (("a/b", 0.5),)), (8, (("a/b", 0.25),))]
    assert found[1].wall_time == WALL + 1
    assert warned == []


def test_half_and_brain_floats_and_integers(write: Write) -> None:
    bits = struct.unpack("<H", np.float16(1.5).tobytes())[0]
    half = building.varint(8) + building.varint(19) + building.varint(13 << 3) + building.varint(bits)
    brain = building.varint(8) + building.varint(14) + building.field(4, b"\xc0\x3f")
    whole = building.varint(8) + building.varint(9) + building.varint(10 << 3) + building.varint(-3)
    summary = b"".join(building.with_tensor(tag, data) for tag, data in (("h", half), ("b", brain), ("i", whole)))
    found, _ = read(write("e", building.version(WALL) + building.event(WALL, -1, summary)))
    assert found[1] == Event(WALL, -1, (("h", 1.5), ("b", 1.5), ("i", -3.0)))


def test_what_is_no_scalar_is_passed_over(write: Write) -> None:
    shape = building.field(2, building.field(2, building.varint(8) + building.varint(2)))
    pair = building.varint(8) + building.varint(1) + shape + building.field(5, struct.pack("<2f", 1.0, 2.0))
    text = building.varint(8) + building.varint(7) + building.field(8, b"hello")
    image = building.field(1, building.field(1, b"img") + building.field(4, b"\x89PNG"))
    summary = building.with_tensor("pair", pair) + building.with_tensor("t", text, "text") + image
    body = building.version(WALL) + building.event(WALL, 1, summary + building.simple("x", 2.0))
    found, warned = read(write("e", body))
    assert found[1].scalars == (("x", 2.0),)
    assert warned == []


def test_a_cut_last_record_is_told(write: Write) -> None:
    whole = trackers.samples()["tensorboard"]
    (content,) = whole.values()
    complete, _ = read(write("a", content))
    for lost in (1, 5, 30, 60):
        found, warned = read(write("b", content[:-lost]))
        assert found == complete[: len(found)]
        assert len(found) >= len(complete) - 2
        assert len(warned) == 1
        assert "cut off" in warned[0]


def test_a_damaged_record_is_left_out_and_the_rest_read(write: Write) -> None:
    rows = [(step, {"x": step / 7}) for step in range(1, 6)]
    content = bytearray(building.event_file(rows))
    at = content.index(struct.pack("<f", 3 / 7))
    content[at] ^= 0x40
    found, warned = read(write("a", bytes(content)))
    assert [event.step for event in found] == [0, 1, 2, 4, 5]
    assert "checksum" in warned[0]


def test_a_damaged_frame_ends_the_file(write: Write) -> None:
    content = building.event_file([(step, {"x": float(step)}) for step in range(1, 6)])
    second = len(building.version(WALL)) + len(building.event(WALL, 1, building.simple("x", 1.0)))
    broken = content[:second] + b"\xff" + content[second + 1 :]
    found, warned = read(write("a", broken))
    assert [event.step for event in found] == [0, 1]
    assert "frame is damaged" in warned[0]


def test_a_large_record_is_passed_over(write: Write) -> None:
    large = building.field(1, building.field(1, b"img") + building.field(4, bytes(1_200_000)))
    data = building.varint(9) + struct.pack("<d", WALL) + building.field(5, large)
    length = struct.pack("<Q", len(data))
    frame = length + building.masked(length) + data + b"\0\0\0\0"
    body = building.version(WALL) + frame + building.event(WALL, 4, building.simple("x", 1.0))
    found, warned = read(write("a", body))
    assert [event.step for event in found] == [0, 4]
    assert warned == []
    assert "cut off" in read(write("b", building.version(WALL) + frame[:-9]))[1][0]


def test_wire_errors_are_told(write: Write) -> None:
    body = building.version(WALL) + building.frame(b"\x2a\xff") + building.frame(b"\x0f") + building.frame(b"\x80" * 12)
    found, warned = read(write("a", body))
    assert len(found) == 1
    assert len(warned) == 3
    assert list(fields(b"\x08\x96\x01")) == [(1, 150)]


def test_an_empty_or_foreign_file_is_not_framed() -> None:
    assert not framed(b"")
    assert not framed(bytes(64))
    assert not framed(building.frame(b"something else"))
    assert framed(building.version(WALL))


def test_scalars_become_columns_of_the_trainer_that_wrote_them(write: Write) -> None:
    (content,) = trackers.samples()["tensorboard"].values()
    run = imported(write("e", content))
    reward = trackers.HF.index("train/reward")
    expected = [np.float32(building.value(step, reward)) for step in range(1, 7)]
    np.testing.assert_array_equal(run.columns["reward_task"].values, np.array(expected, dtype=float))
    assert run.columns["kl_ref"].present.all()
    assert run.unknown() == ()


def test_the_same_tags_of_another_trainer_mean_what_it_means(tmp_path: Path) -> None:
    run = imported(spread(tmp_path, trackers.resumed()))
    assert {"kl_ref", "kl_old_new", "kl_sampler_trainer", "reward_train"} <= set(run.columns)
    assert run.columns["eval[set=math500,metric=mean]"].present.sum() == 1


def test_files_of_a_resumed_run_are_read_by_time_and_stitched(tmp_path: Path) -> None:
    run = imported(spread(tmp_path, trackers.resumed()))
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [segment.first for segment in run.segments] == [1, 5]
    assert run.segments[0].replaced == (5.0, 6.0)


def test_subfolders_of_a_folder_of_events_are_runs_of_their_own(tmp_path: Path) -> None:
    one = building.event_file([(1, {"train/reward": 0.5, "train/kl": 0.25, "train/num_tokens": 9.0})])
    folder = spread(tmp_path, {"events.out.tfevents.1": one, "b/events.out.tfevents.2": one})
    assert [run.name.rpartition(": ")[2] for run in import_runs([folder])][1] == "b"


def test_csv_of_one_tag_needs_its_metric(write: Write) -> None:
    text = "Wall time,Step,Value\n1654943296.2150984,0,59.310001373291016\n1654943313.7791796,1,64.77999877929688\n"
    path = write("run-tag-x.csv", text)
    with pytest.raises(InputError, match="metric="):
        import_runs([path])
    run = imported(path, metric="reward_task")
    assert run.columns["reward_task"].values.tolist() == [59.310001373291016, 64.77999877929688]
    assert run.columns["wall_s"].values[0] == 1654943296.2150984


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_csv_of_windows_with_a_bad_row(write: Write, encoding: str) -> None:
    text = trackers.csv().decode().replace("\n", "\r\n") + "1654943399.5,6\r\n"
    run = imported(write("x.csv", text.encode(encoding)), metric="reward_task")
    assert run.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert any("2 cells" in sentence for sentence in run.warnings)


def test_a_folder_without_events_is_refused(write: Write) -> None:
    folder = write("d/x.txt", "hello").parent
    with pytest.raises(InputError, match="no event file"):
        import_runs([folder], dialect="tensorboard")
