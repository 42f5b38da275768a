"""Event files of TensorBoard, read without TensorFlow: framed records, each a protocol buffer ``Event``.

A record is its length [8 bytes], a checksum of the length [4], the data, a checksum of the data [4], little-endian. The
checksum is CRC-32C, turned right by 15 bits and shifted by a constant. Of an event only wall time, step and scalars are
decoded: ``simple_value`` and one-element tensors. Format: tensorflow/core/lib/io/record_writer.h,
tensorflow/core/util/event.proto, tensorflow/core/framework/{summary,tensor}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rlaws.errors import InputError
from rlaws.logs.dialects.base import Tell
from rlaws.logs.readers import Warn

POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed
MASK_DELTA = 0xA282EAD8
CHECKED = 1 << 20  # bytes; larger records are images or graphs, whose data is passed over unchecked
HEADER = struct.Struct("<QI")
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2"}
_BFLOAT16 = 14
_VALUES = {5: "<f4", 6: "<f8"}  # fields of a TensorProto with packed floats and doubles
_VARINTS = (7, 10, 11)  # fields of a TensorProto with packed integers and truth values


class WireError(ValueError):
    """A protocol buffer that breaks off or holds what its format does not allow."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        wall_time: Seconds since 1970.
        step: Step of the trainer.
        scalars: Tag and value of each scalar; empty for an event without.
    """

    wall_time: float
    step: int
    scalars: tuple[tuple[str, float], ...]


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


def masked_crc(data: bytes) -> int:
    """Return the masked CRC-32C of some bytes, as the frames hold it."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def framed(raw: bytes) -> bool:
    """Return whether a file that begins with these bytes is a file of framed events.

    The first record of an event file is its version, ``brain.Event:2``.
    """
    if len(raw) < HEADER.size:
        return False
    length, crc = HEADER.unpack_from(raw)
    return masked_crc(raw[:8]) == crc and b"brain.Event" in raw[HEADER.size : HEADER.size + length]


def events(path: Path, tell: Tell, warn: Warn) -> Iterator[Event]:
    """Yield the events of a file in its order.

    A record whose data does not fit its checksum is left out; a file that breaks off, or whose frames are damaged, is
    read up to there. Both are told to ``warn``.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for place, data in _records(file, path.name, tell, warn):
                try:
                    event = _event(data)
                except WireError as error:
                    warn(f"{path.name}, record {place}: {error}; it is left out.")
                    continue
                yield event
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _records(file: BinaryIO, name: str, tell: Tell, warn: Warn) -> Iterator[tuple[int, bytes]]:
    """Yield number, from 1, and data of the records that are whole."""
    place = 0
    while head := file.read(HEADER.size):
        place += 1
        length, crc = HEADER.unpack(head) if len(head) == HEADER.size else (0, -1)
        if crc >= 0 and masked_crc(head[:8]) != crc:
            warn(f"{name}, record {place}: the frame is damaged; the file is read up to there.")
            return
        body = file.read(length + 4) if crc >= 0 and length <= CHECKED else _passed(file, length, crc)
        if len(body) < min(length, CHECKED) + 4:
            warn(f"{name}, record {place}, the last, is cut off; it is left out.")
            return
        tell(HEADER.size + length + 4)
        data = body[:-4]
        if length > CHECKED:
            continue
        if masked_crc(data) == int.from_bytes(body[-4:], "little"):
            yield place, data
        else:
            warn(f"{name}, record {place} does not fit its checksum; it is left out.")


def _passed(file: BinaryIO, length: int, crc: int) -> bytes:
    """Pass over a large record; return as many bytes as mean "whole", or none where the file ends before."""
    if crc < 0:
        return b""
    file.seek(length + 3, 1)
    return bytes(CHECKED + 4) if file.read(1) else b""


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a protocol buffer; fixed-width and nested ones as their bytes.

    Raises:
        WireError: If it breaks off or has a wire type that does not exist.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise WireError(f"it has a field of wire type {wire}")
        if at + size > len(data):
            raise WireError("it breaks off within a field")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise WireError("it has a number without an end")


def _signed(value: int) -> int:
    """Return a 64-bit number as protocol buffers write negative ones."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _event(data: bytes) -> Event:
    wall, step, scalars = 0.0, 0, list[tuple[str, float]]()
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes) and len(value) == 8:
            wall = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = _signed(value)
        elif number == 5 and isinstance(value, bytes):
            scalars.extend(_summary(value))
    return Event(wall, step, tuple(scalars))


def _summary(data: bytes) -> Iterator[tuple[str, float]]:
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            tag, scalar = _value(value)
            if scalar is not None:
                yield tag, scalar


def _value(data: bytes) -> tuple[str, float | None]:
    """Return tag and number of a summary value; None where it is an image, a histogram, a text."""
    tag, scalar = "", None
    for number, value in fields(data):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            tag = value.decode("utf-8", "replace")
        elif number == 2 and len(value) == 4:
            scalar = struct.unpack("<f", value)[0]
        elif number == 8:
            scalar = _tensor(value)
    return tag, scalar


def _tensor(data: bytes) -> float | None:
    """Return the number of a tensor with one element, else None."""
    dtype, found = 0, list[float]()
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2 and isinstance(value, bytes) and _elements(value) != 1:
            return None
        elif number == 4 and isinstance(value, bytes):
            found = _content(value, dtype)
        elif number in _VALUES and isinstance(value, bytes) and len(value) % int(_VALUES[number][-1]) == 0:
            found.extend(np.frombuffer(value, _VALUES[number]).tolist())
        elif number in _VARINTS:
            found.extend([_signed(value)] if isinstance(value, int) else _packed(value))
        elif number == 13:
            halves = [value] if isinstance(value, int) else _packed(value)
            found.extend(_content(b"".join(struct.pack("<H", half & 0xFFFF) for half in halves), dtype))
    return float(found[0]) if len(found) == 1 else None


def _elements(shape: bytes) -> int:
    """Return how many elements a TensorShapeProto has."""
    sizes = [value for number, value in fields(shape) if number == 2 and isinstance(value, bytes)]
    total = 1
    for size in sizes:
        total *= next((_signed(value) for number, value in fields(size) if number == 1 and isinstance(value, int)), 0)
    return total


def _content(data: bytes, dtype: int) -> list[float]:
    """Return the elements of raw tensor bytes; empty for a type that is no number."""
    if dtype == _BFLOAT16 and len(data) % 2 == 0:
        wide = np.frombuffer(data, "<u2").astype("<u4") << 16
        return [float(value) for value in wide.view("<f4").tolist()]
    kind = _DTYPES.get(dtype)
    if kind is None or len(data) % np.dtype(kind).itemsize:
        return []
    return [float(value) for value in np.frombuffer(data, kind).tolist()]


def _packed(data: bytes) -> list[int]:
    found, at = list[int](), 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(_signed(value))
    return found
