"""Logs as the trainers write them, built from their key lists; event files are written without the code under test."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence

STEPS = 6


def words(text: str) -> list[str]:
    """Return keys written one behind the other."""
    return text.split()


def value(step: int, place: int, scale: float = 1.0) -> float:
    """Return a number that differs for every step and key."""
    return round(scale * (0.11 + 0.0173 * step + 0.00031 * place), 7)


def row(keys: Sequence[str], step: int, /, **fixed: object) -> dict[str, object]:
    """Return keys with numbers of their own."""
    return {**{key: value(step, place) for place, key in enumerate(keys)}, **fixed}


def json_lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


def crc32c(data: bytes) -> int:
    """Bit by bit, from the definition: reflected polynomial 0x1EDC6F41, initial and final complement."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            low = (crc ^ byte >> bit) & 1
            crc = crc >> 1 ^ (0x82F63B78 if low else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def tensor_float(scalar: float) -> bytes:
    """A TensorProto, DT_FLOAT, no dimensions, float_val packed."""
    return varint(1 << 3) + varint(1) + field(2, b"") + field(5, struct.pack("<f", scalar))


def tensor_double(scalar: float) -> bytes:
    """A TensorProto, DT_DOUBLE, no dimensions, raw content."""
    return varint(1 << 3) + varint(2) + field(2, b"") + field(4, struct.pack("<d", scalar))


def simple(tag: str, scalar: float) -> bytes:
    return field(1, field(1, tag.encode()) + varint(2 << 3 | 5) + struct.pack("<f", scalar))


def with_tensor(tag: str, tensor: bytes, plugin: str = "scalars") -> bytes:
    metadata = field(9, field(1, field(1, plugin.encode())))
    return field(1, field(1, tag.encode()) + metadata + field(8, tensor))


def event(wall: float, step: int, summary: bytes) -> bytes:
    return frame(varint(1 << 3 | 1) + struct.pack("<d", wall) + varint(2 << 3) + varint(step) + field(5, summary))


def version(wall: float) -> bytes:
    return frame(varint(1 << 3 | 1) + struct.pack("<d", wall) + field(3, b"brain.Event:2"))


def event_file(rows: Sequence[tuple[int, Mapping[str, float]]], wall: float = 1_700_000_000.0) -> bytes:
    """One event a tag, as SummaryWriter.add_scalar writes them."""
    body = version(wall)
    for at, (step, scalars) in enumerate(rows):
        for tag, scalar in scalars.items():
            body += event(wall + 10.0 * at + 1.0, step, simple(tag, scalar))
    return body
