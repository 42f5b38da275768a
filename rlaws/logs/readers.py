"""Low-level readers that all dialects share: lines, JSON lines, table rows and literals of files as users have them.

Files are read in a stream, in UTF-8 (with or without a mark), UTF-16 (with its mark) or, line by line where a byte is
no UTF-8, Latin-1. Nothing is evaluated and nothing unpickled.
"""

from __future__ import annotations

import ast
import codecs
import csv
import hashlib
import io
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaws.errors import InputError
from rlaws.logs.dialects.base import Head, Tell, Value

HEAD_BYTES = 65536
MEMBERS = 1000
DEPTH = 20  # levels of a nested record; no trainer nests deeper
LINE_LIMIT = 1 << 26  # bytes; a longer line is no log line, and would be held in memory whole
WHOLE_LIMIT = 1 << 29  # bytes of a document that cannot be read in a stream (one JSON value)

Warn = Callable[[str], None]

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_RAY = re.compile(r"^\((?:[\w.:<>\-]+ )?pid=\d+(?:, ip=[\w.:\-]+)?\)\s?")
_REPEATED = re.compile(r"\s*\[repeated \d+x across cluster\].*$")
STEP = r"(?i:(?:.*/)?(?:global|training|train|trainer)?_?(?:steps?|iterations?|iter|updates?))"  # names of a step
_CONTROL = [bytes([code]) for code in (*range(1, 8), *range(14, 27))]  # control codes that no text holds; 27 is ANSI
_WRAPPED = re.compile(r"(?:np|numpy|torch|jnp)\.\w+\(|(?:tensor|array)\(")


class Cut(str):
    """The last line of a file that does not end with a line end: what stands last in it may be cut off."""

    __slots__ = ()


def head(path: Path) -> Head:
    """Return the beginning of a file or the names in a folder.

    Raises:
        InputError: If it is not there or cannot be read.
    """
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder that can be read; check the path.")
    try:
        if path.is_dir():
            return Head(path, "", b"", _members(path))
        with path.open("rb") as file:
            raw = file.read(HEAD_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    return Head(path, text_of(raw), raw)


def strip(text: str) -> str:
    """Return a text without ANSI codes."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def lines(path: Path, tell: Tell, warn: Warn) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, counted from 1.

    ANSI codes, prefixes of Ray ("(TaskRunner pid=12, ip=10.0.0.1) "), its "[repeated 3x across cluster]" and the line
    end are removed; what a progress bar overwrote with a carriage return comes as a line of its own under the same
    number. A last line without a line end is a ``Cut``.

    Args:
        path: The file.
        tell: Told the bytes read.
        warn: Told, once a file, of bytes that are no UTF-8 and of zero bytes.

    Raises:
        InputError: If it cannot be read, or a line is longer than 64 MiB.
    """
    for number, text, whole in _texts(path, tell, warn):
        clean = strip(text)
        for part in clean.split("\r") if "\r" in clean else (clean,):
            line = _plain(part)
            yield number, line if whole else Cut(line)


def json_lines(path: Path, tell: Tell, warn: Warn) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file with one JSON object a line, with their line numbers.

    Bare NaN and Infinity are read. Blank lines are passed over; a line that is no object is told to ``warn`` and left
    out, a cut last line too.

    Raises:
        InputError: As ``lines``.
    """
    for number, text in lines(path, tell, warn):
        if not text or text.isspace():
            continue
        value = parsed(text)
        if isinstance(value, dict):
            yield number, value
        elif isinstance(text, Cut):
            warn(f"{path.name}, line {number}: the last line is cut off; it is left out.")
        else:
            warn(f"{path.name}, line {number} is not a JSON object ('{shown(text)}'); it is left out.")


def parsed(text: str) -> Any:
    """Return the value of a JSON text, or None where it is not JSON (or nested too deeply to read)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def whole(path: Path, tell: Tell, warn: Warn, limit: int = WHOLE_LIMIT) -> str:
    """Return a whole text file that cannot be read in a stream, such as one JSON document; line ends become newlines.

    Raises:
        InputError: If it cannot be read or is larger than ``limit`` bytes.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    if size > limit:
        raise InputError(f"{path} is one document of {size} bytes; at most {limit} can be read at once. Split it.")
    return "\n".join(text for _, text, _ in _texts(path, tell, warn))


def rows(path: Path, tell: Tell, warn: Warn, delimiter: str = "") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a delimited table with the number of the line they end on; the first is the header.

    Args:
        path: The file.
        tell: Told the bytes read.
        warn: Told of damage, and of a last line without a line end (the last number may be cut).
        delimiter: Its delimiter, or "" to see it from the first line.

    Raises:
        InputError: As ``lines``, and where quotes are not closed.
    """
    source = _kept(path, tell, warn)
    first = next(source, None)
    if first is None:
        return
    reader = csv.reader(_chain(first, source), delimiter=delimiter or delimiter_of(first), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(
            f"{path}, near line {reader.line_num}: {error}; a quote there is not closed, or the file is not a table."
        ) from error


def table(path: Path, tell: Tell, warn: Warn) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a delimited table as column -> cell with their line numbers; blank cells are left out.

    A row with more or fewer cells than the header is told to ``warn`` and left out.

    Raises:
        InputError: As ``rows``, and where two columns have one name.
    """
    source = rows(path, tell, warn)
    _, names = next(source, (0, []))
    header = [name.strip() or f"(column {i})" for i, name in enumerate(names, start=1)]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise InputError(f"{path}: two columns are named '{shown(twice[0])}'; rename one.")
    for at, cells in source:
        if len(cells) != len(header):
            warn(f"{path.name}, line {at} has {len(cells)} cells for {len(header)} columns; the row is left out.")
            continue
        yield at, {name: cell for name, cell in zip(header, cells, strict=True) if cell and not cell.isspace()}


def header_of(text: str) -> list[str]:
    """Return the column names in the first line of a text, or none where that is no header of a table."""
    first = text.lstrip("\n").partition("\n")[0].strip("\r")
    try:
        cells = next(csv.reader([first], delimiter=delimiter_of(first), strict=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]


def first_row(text: str) -> dict[str, str]:
    """Return the first row of a table in the beginning of a text, or nothing where that is no table.

    A table has at least two columns of different names that are no numbers, and a row of as many cells with a number.
    """
    header = header_of(text)
    cells = header_of(text.lstrip("\n").partition("\n")[2])
    if len(header) < 2 or len(cells) != len(header) or len(set(header)) < len(header):
        return {}
    if any(number(name) is not None for name in header) or all(number(cell) is None for cell in cells):
        return {}
    return dict(zip(header, cells, strict=True))


def delimiter_of(line: str) -> str:
    """Return the delimiter of a table from its first line: a tab, which names never hold, else "," or ";"."""
    if "\t" in line:
        return "\t"
    return ";" if line.count(";") > line.count(",") else ","


def literal(text: str) -> dict[str, Any] | None:
    """Return the dict that a text prints, as Python prints dicts, or None.

    Bare nan and inf are read, and a number wrapped as ``np.float64(0.5)`` or ``tensor(0.5)`` is the number. Nothing is
    evaluated: a name or a call of anything else makes it None.
    """
    text = text.strip()
    if not text.startswith("{") or not text.endswith("}"):
        return None
    if '"' not in text and "\\" not in text:  # then exchanging the quotes makes it JSON, which is ten times as fast
        fast = parsed(text.replace("'", '"'))
        if isinstance(fast, dict):
            return fast
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            value = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError):
        return None
    return value if isinstance(value, dict) else None


def number(value: object) -> float | None:
    """Return a logged value as a number, or None where it is not one.

    Numbers, truth values and texts such as '0.91', '1e-6', 'NaN', '-inf' are numbers; '0.9%', '', '1_000' and None are
    not.
    """
    if type(value) is float:
        return value
    if isinstance(value, str):
        if "_" in value or not value.isascii():  # which Python takes and no logger writes
            return None
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def step_key(keys: Iterable[str]) -> str:
    """Return which of the keys is the trainer's step, or "": a global step before a training step before a plain one.

    W&B's ``_step`` counts calls of its log function and is no training step.
    """
    possible = [key for key in keys if not key.startswith("_") and re.fullmatch(STEP, key)]
    return min(possible, key=_step_rank, default="")


def stepped(
    source: Iterable[tuple[int, Mapping[str, Any]]], otherwise: str = ""
) -> Iterator[tuple[int, Mapping[str, Any], str]]:
    """Yield rows with their place and the key that is the step among the keys seen so far, or ``otherwise``."""
    seen: dict[str, None] = {}
    step = otherwise
    for at, values in source:
        if not values.keys() <= seen.keys():
            seen.update(dict.fromkeys(values))
            step = step_key(seen) or otherwise
        yield at, values, step


def _step_rank(key: str) -> tuple[int, int]:
    name = key.rpartition("/")[2].lower()
    order = ("global_step", "training_step", "step")
    return order.index(name) if name in order else len(order), len(key)


def flat(record: Mapping[Any, Any], sep: str = "/", above: str = "", depth: int = 0) -> dict[str, Value]:
    """Return a nested record with one level of keys, joined by ``sep``; lists and None are left out."""
    out: dict[str, Value] = {}
    for name, value in record.items():
        key = f"{above}{name}"
        if isinstance(value, (float, str)):
            out[key] = value
        elif isinstance(value, int):  # truth values too
            whole_number = number(value)
            out[key] = "too large a number" if whole_number is None else whole_number
        elif isinstance(value, Mapping):
            out.update(flat(value, sep, f"{key}{sep}", depth + 1) if depth < DEPTH else {key: "nested too deeply"})
    return out


def problem_id(text: str) -> str:
    """Return a short stable name of a problem that only has its text: 16 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def shown(text: str, width: int = 40) -> str:
    """Return the beginning of a text as it can stand in a message: printable and short."""
    clean = "".join(c if c.isprintable() else "?" for c in text[: width + 1])
    return clean if len(text) <= width else f"{clean[:width]}..."


def missing(path: Path, package: str, what: str) -> InputError:
    """Return the error for a reader that is not installed."""
    return InputError(f"{path} is {what}, which needs the package {package}: pip install 'rlaws[logs]'.")


def _members(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for folder, below, files in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                found.append((Path(folder) / name).relative_to(path).as_posix())
        if len(found) >= MEMBERS:
            break
    return tuple(found[:MEMBERS])


def text_of(raw: bytes) -> str:
    """Return a stretch of a file as text without ANSI codes, or "" where it is binary."""
    return strip(_decoded(raw))


def _decoded(raw: bytes) -> str:
    encoding = _encoding(raw)
    if encoding != "utf-8":
        return codecs.getincrementaldecoder(encoding)("replace").decode(raw)
    if sum(raw.count(code) for code in _CONTROL) > len(raw) / 50:
        return ""  # binary
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(raw)
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\0", "")


def _encoding(raw: bytes) -> str:
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # without its mark: every other byte is mostly zero
        if raw[first::2].count(0) > len(raw) / 4 and raw[1 - first :: 2].count(0) == 0:
            return name
    return "utf-8"


def _texts(path: Path, tell: Tell, warn: Warn) -> Iterator[tuple[int, str, bool]]:
    """Yield number, text without its line end, and whether there was one."""
    try:
        with path.open("rb") as file:
            encoding = _encoding(file.peek(4096)[:4096])
            read = _utf8(path, file, tell, warn) if encoding == "utf-8" else _utf16(path, file, tell, encoding)
            for number, text in enumerate(read, start=1):
                ended = text.endswith("\n")
                yield number, text.rstrip("\r\n") if ended else text.removesuffix("\r"), ended
    except OSError as error:
        raise _unreadable(path, error) from error


def _utf8(path: Path, file: io.BufferedReader, tell: Tell, warn: Warn) -> Iterator[str]:
    number = 0
    foreign = zeros = False
    while raw := file.readline(LINE_LIMIT):
        tell(len(raw))
        number += 1
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        _check_line(path, number, len(raw))
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
            if not foreign:
                warn(f"{path.name}, line {number} has bytes that are not UTF-8; such lines are read as Latin-1.")
            foreign = True
        if "\0" in text:
            text = text.replace("\0", "")
            if not zeros:
                warn(f"{path.name}, line {number} holds zero bytes, as a crash leaves them; they are left out.")
            zeros = True
        yield text


def _utf16(path: Path, file: io.BufferedReader, tell: Tell, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    number, open_text = 0, ""
    while raw := file.read(HEAD_BYTES):
        tell(len(raw))
        *full, open_text = (open_text + decoder.decode(raw)).split("\n")
        _check_line(path, number + len(full) + 1, len(open_text))
        number += len(full)
        yield from (f"{line}\n" for line in full)
    open_text += decoder.decode(b"", final=True)
    if open_text:
        yield open_text


def _check_line(path: Path, number: int, size: int) -> None:
    if size >= LINE_LIMIT:
        raise InputError(f"{path}, line {number} is longer than {LINE_LIMIT >> 20} MiB; this is not a log in lines.")


def _plain(text: str) -> str:
    if text.startswith("("):
        text = _RAY.sub("", text)
    if "[repeated " in text:
        text = _REPEATED.sub("", text)
    return text


def _kept(path: Path, tell: Tell, warn: Warn) -> Iterator[str]:
    """Yield lines with their ends, as the csv module wants them."""
    for number, text, ended in _texts(path, tell, warn):
        if not ended:
            warn(f"{path.name}, line {number}, the last, has no line end; if the file was cut, so is its last number.")
        yield f"{text}\n"


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        return _dict(node)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id.lower() in ("nan", "inf", "infinity"):
        return math.nan if node.id.lower() == "nan" else math.inf
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _value(node.operand)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.Call) and node.args and _WRAPPED.match(ast.unparse(node.func) + "("):
        return _value(node.args[0])
    raise ValueError(ast.dump(node))


def _dict(node: ast.Dict) -> dict[str, Any]:
    keys: Sequence[ast.expr | None] = node.keys
    if any(key is None for key in keys):
        raise ValueError("a dict with **")
    return {str(_value(key)): _value(value) for key, value in zip(keys, node.values, strict=True) if key is not None}


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read: {error.strerror or error}; check what it is and its permissions.")
