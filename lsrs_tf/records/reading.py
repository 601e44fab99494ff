"""Reads certification files, of this package and of others: whole, or not at all.

Accepted are UTF-8 with or without a byte order mark, gzip, any line ends, a last line without one,
quoted fields, and columns in any order with further ones between them. What is not understood is
an error that names the line.
"""

import csv
import dataclasses
import gzip
import io
import os
import pathlib
import zlib
from collections.abc import Iterable

from lsrs_tf.records import consistency, schema
from lsrs_tf.records.notation import shown
from lsrs_tf.records.schema import Record, is_correct

IN_A_FOLDER = "certified.tsv"
GZIP = b"\x1f\x8b"
_CORRECT = "Correct the line, or ask the author of the file."


@dataclasses.dataclass(frozen=True)
class Table:
    """A certification file as it is written.

    Attributes:
        path: `pathlib.Path` of the file.
        header: tuple of str, the names of the columns.
        rows: list of lists of str, the texts of each row in the order of the header.
        records: list of `Record`, one for each row.
    """

    path: pathlib.Path
    header: tuple[str, ...]
    rows: list[list[str]]
    records: list[Record]


def read(path: str | os.PathLike[str]) -> list[Record]:
    """Returns the list of `Record` of a file, in its order; see `read_table`."""
    return read_table(path).records


def read_table(path: str | os.PathLike[str]) -> Table:
    """Reads a certification file, and checks every row that holds votes.

    Args:
        path: the file, or the folder of a training run that holds `certified.tsv`.

    Returns:
        A `Table`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a certification file, a line of it is damaged or contradicts its
            own votes, an image comes twice, or rows with votes differ in a setting.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / IN_A_FOLDER
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no certification file at {path}. Write one with "
            "`python -m experiments.certify`."
        ) from error
    return table_of(_decoded(content, path), path)


def table_of(text: str, path: pathlib.Path, advice: str = _CORRECT) -> Table:
    """Returns the `Table` of a text.

    Args:
        text: str, the content of a file.
        path: `pathlib.Path` of the file, for messages.
        advice: str, what to do about a damaged line.

    Raises:
        ValueError: see `read_table`.
    """
    lines = numbered_rows(text, path, advice)
    if not lines:
        raise ValueError(f"{path} is empty. {_expected()}")
    header = _header(lines[0][1], path)
    records, line_of, ended = [], {}, text[-1] in "\r\n"
    for number, row in lines[1:]:
        try:
            record = _record(row, header)
            consistency.check(record)
            if number == lines[-1][0] and not ended:
                _check_end(record, row, header)
        except ValueError as error:
            cut = ended or number != lines[-1][0]
            maybe = "" if cut else " (the file ends without a line break, and may be cut off)"
            raise ValueError(
                f"Line {number} of {path} is damaged: {error}{maybe}. {advice}"
            ) from error
        if record.idx in line_of:
            raise ValueError(
                f"{path} has more than one row for image {record.idx} (lines "
                f"{line_of[record.idx]} and {number}), which would count it more than once. Remove "
                "all but one."
            )
        line_of[record.idx] = number
        records.append(record)
    try:
        consistency.check_settings(records)
    except ValueError as error:
        raise ValueError(f"{path} mixes rows of different settings: {error}") from error
    return Table(path, header, [row for _, row in lines[1:]], records)


def written_row(cells: Iterable[str]) -> str:
    """Returns one line of the file, with its line break, of a sequence of texts."""
    line = io.StringIO()
    csv.writer(line, delimiter="\t", lineterminator="\n").writerow(cells)
    return line.getvalue()


def _decoded(content: bytes, path: pathlib.Path) -> str:
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path} cannot be decompressed ({error}). Get the file again."
            ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not a text file in UTF-8 ({error}). Save it as tab-separated text in UTF-8."
        ) from error


def numbered_rows(text: str, path: pathlib.Path, advice: str) -> list[tuple[int, list[str]]]:
    """Returns list of (number of the first line of the row, its cells); blank lines are no rows."""
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"Line {number} of {path} is damaged: it holds NUL bytes. {advice}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    rows, number = [], 1
    try:
        for row in reader:
            if row:
                rows.append((number, row))
            number = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"Line {number} of {path} is damaged: {error}. {advice}") from error
    return rows


def _expected() -> str:
    columns = " ".join(schema.names(schema.CERTIFICATE))
    return f"A certification file begins with a line of the columns {columns}, separated by tabs."


def _header(cells: Iterable[str], path: pathlib.Path) -> tuple[str, ...]:
    header = tuple(cell.strip() for cell in cells)
    missing = [name for name in schema.names(schema.CERTIFICATE) if name not in header]
    if missing:
        raise ValueError(
            f"{path} is not a certification file: its first line lacks {', '.join(missing)}. "
            f"{_expected()} Received: {shown(' '.join(header))}"
        )
    double = sorted({name for name in header if header.count(name) > 1})
    if double:
        raise ValueError(
            f"{path} has more than one column of the name {', '.join(map(shown, double[:3]))}, so "
            "it is not clear which is meant. Remove or rename all but one."
        )
    return header


def _record(row: list[str], header: tuple[str, ...]) -> Record:
    if len(row) != len(header):
        raise ValueError(f"it has {len(row)} columns instead of {len(header)}")
    texts = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    own = {name: schema.parsed(name, texts.pop(name)) for name in schema.names(schema.CERTIFICATE)}
    seconds = own.pop("time")
    record = Record(**own, seconds=seconds, extra=texts)
    if record.correct != is_correct(record.label, record.predict):
        raise ValueError(
            f"correct is {int(record.correct)}, but the label is {record.label}, predicted "
            f"{record.predict}"
        )
    if record.predict == -1 and record.radius > 0:
        raise ValueError(f"an abstention with radius {record.radius}")
    for name in (*schema.names(schema.RESULT), *schema.COSTS):
        # Tables are made of these; other settings are shown as they are written.
        record.value(name)
    return record


def _check_end(record: Record, row: list[str], header: tuple[str, ...]) -> None:
    """Raises if the end of the last row, which has no line break, may have been cut off."""
    if not row[-1]:
        raise ValueError(f"column {header[-1]} is empty")
    votes = record.votes
    if header[-1] != "counts" or votes is None:
        return
    samples, n0, n = (record.value(name) for name in ("samples", "n0", "n"))
    expected = n if samples is None or n0 is None else samples - n0
    if expected is not None and votes[1].sum() != expected:
        raise ValueError("it has fewer votes than samples")
