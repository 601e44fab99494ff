"""What files of attacks and of estimates have in common: a row for each image of a test set.

They are journals as certification files are, of other columns, so that what they hold is never read
as a certificate.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from lsrs_tf.records import schema
from lsrs_tf.records.journal import Journal
from lsrs_tf.records.reading import Table, numbered_rows


class ImageRecord:
    """One image, as read from a file: a data class with at least these attributes.

    Attributes:
        idx: int, the place of the image in its test set.
        label: int, the true class.
        clean: int, the answer for the image as it is.
        seconds: float.
        extra: dict of str to str, the further columns as they are written.
    """

    idx: int
    label: int
    clean: int
    seconds: float
    extra: dict[str, str]

    def value(self, name: str) -> Any:
        """Returns the value of a further column, None where it is unknown."""
        return schema.parsed(name, self.extra[name]) if name in self.extra else None


Row = TypeVar("Row", bound=ImageRecord)


@dataclasses.dataclass(frozen=True)
class Layout(Generic[Row]):
    """The columns of a kind of file.

    Attributes:
        kind: str, what is in the file, for messages.
        command: str, what writes one.
        parsers: mapping of a column to a function of its text, which raises `ValueError`.
        settings: tuple of str, the columns that all rows must agree on.
        optional: tuple of str, settings whose columns are in files that have them only.
        results: tuple of str, the further columns of a row.
        record: function of the parsed values and the further texts that returns a record, or
            raises `ValueError`.
    """

    kind: str
    command: str
    parsers: Mapping[str, Callable[[str], Any]]
    settings: tuple[str, ...]
    results: tuple[str, ...]
    record: Callable[[dict[str, Any], dict[str, str]], Row]
    optional: tuple[str, ...] = ()

    @property
    def advice(self) -> str:
        """What to do with a damaged line."""
        return f"Remove the line; the next `{self.command}` makes its row again."

    def table_of(self, text: str, path: pathlib.Path) -> tuple[Table, list[Row]]:
        """Returns the table of a text, and its records.

        Args:
            text: str, the content of a file.
            path: `pathlib.Path` of the file, for messages.

        Raises:
            ValueError: if it is another kind of file, a line is damaged, or an image comes twice.
        """
        lines = numbered_rows(text, path, self.advice)
        header = tuple(cell.strip() for cell in lines[0][1]) if lines else ()
        needed = (*self.parsers, *self.settings, *self.results)
        missing = [name for name in needed if name not in header]
        if missing or len(set(header)) < len(header):
            raise ValueError(
                f"{path} is not a file of {self.kind}: its first line lacks "
                f"{', '.join(missing[:3])} or has a column twice. Write one with "
                f"`{self.command}`."
            )
        records: dict[int, Row] = {}
        for number, row in lines[1:]:
            try:
                record = self._record_of(row, header)
            except ValueError as error:
                raise ValueError(
                    f"Line {number} of {path} is damaged: {error}. {self.advice}"
                ) from error
            if record.idx in records:
                raise ValueError(
                    f"{path} has more than one row for image {record.idx}. {self.advice}"
                )
            records[record.idx] = record
        return Table(path, header, [row for _, row in lines[1:]], []), list(records.values())

    def settings_of(self, record: Row) -> dict[str, str]:
        """Returns what a record was made with, a dict of str to str."""
        names = (*self.settings, *self.optional)
        return {name: record.extra[name] for name in names if name in record.extra}

    def read(self, path: str | os.PathLike[str]) -> list[Row]:
        """Returns the records of a file; see `read_table`."""
        return self.read_table(path)[1]

    def read_table(self, path: str | os.PathLike[str]) -> tuple[Table, list[Row]]:
        """Returns the table of a file, as it is written, and its records.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is another kind of file, is damaged, or mixes settings.
        """
        path = pathlib.Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"There is no file of {self.kind} at {path}. Write one with `{self.command}`."
            ) from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not a text file in UTF-8 ({error}).") from error
        table, records = self.table_of(text, path)
        for name in (*self.settings, *self.optional):
            values = sorted({record.extra.get(name, schema.UNKNOWN) for record in records})
            if len(values) > 1:
                raise ValueError(
                    f"{path} mixes rows of different settings: {name} is {', '.join(values[:3])}."
                )
        return table, records

    def _record_of(self, row: list[str], header: tuple[str, ...]) -> Row:
        if len(row) != len(header):
            raise ValueError(f"it has {len(row)} columns instead of {len(header)}")
        texts = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
        values: dict[str, Any] = {}
        for name, parse in self.parsers.items():
            try:
                values[name] = parse(texts.pop(name))
            except ValueError as error:
                raise ValueError(f"column {name} {error}") from error
        return self.record(values, texts)


class LayoutJournal(Journal):
    """A file of a layout that is open for appending, and resumes where it was left.

    Args:
        path: the file.
        settings: dict of str to value, the settings of the layout, that all rows must agree on.

    Attributes:
        layout: `Layout` of the file, which subclasses name.
        done: dict of index to record.
    """

    layout: ClassVar[Layout[Any]]

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, object]) -> None:
        own = {name: settings.get(name) for name in self.layout.settings}
        given = {name: settings.get(name) for name in self.layout.optional}
        own |= {name: value for name, value in given.items() if value is not None}
        super().__init__(path, own, self.layout.results)

    def _add(self, record: ImageRecord, values: Mapping[str, object]) -> None:
        """Writes the row of one image, with values of columns that only this layout has."""
        self._append(
            {
                **self._settings,
                **record.extra,
                "idx": record.idx,
                "label": record.label,
                "clean": record.clean,
                "time": record.seconds,
                **values,
            }
        )

    def _own_columns(self) -> tuple[str, ...]:
        return tuple(self.layout.parsers)

    def _records_of(self, text: str) -> tuple[Table, list[Any]]:
        return self.layout.table_of(text, self._path)
