import csv
import fcntl
import io
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Self

from lsrs_tf.files import written_whole
from lsrs_tf.records import refusals, schema
from lsrs_tf.records.notation import shown
from lsrs_tf.records.reading import Table, table_of, written_row
from lsrs_tf.records.schema import is_correct

_ADVICE = "Remove the line; its image will be certified again when certification resumes."


class Journal:
    """A certification file that is open for appending, and resumes where it was left.

    Every row is on disk before the next image begins. A kill can leave half a row at the end; it is
    dropped when the file is opened again, with a message, and that image is certified again.

    A copy of such a file with other line ends, a byte order mark, quoted fields or another order of
    the columns is brought into the form in which it was written, at once or not at all. A file that
    an earlier version has begun, without the columns that came later, goes on without them.

    Args:
        path: the file; it is created with its folder if missing.
        settings: dict of str to value, in the order of the columns, that all rows must agree on.
        results: iterable of str, further columns of each row after the settings, or None for those
            of the method in the settings.

    Attributes:
        done: dict of index to `Record`, what the file held when it was opened, and tables since.

    Raises:
        FileExistsError: if the file was begun with other settings, or another process writes to it.
        ValueError: if the file is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Mapping[str, object],
        results: Iterable[str] | None = None,
    ) -> None:
        self._path = pathlib.Path(path)
        self._settings = {name: schema.written(name, value) for name, value in settings.items()}
        if results is None:
            results = schema.results_of(self._settings.get("method", "fixed"))
        self._columns = [*self._own_columns(), *settings, *results]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_dir():
            raise FileExistsError(f"{self._path} is a folder. Give the name of a file.")
        self._file: BinaryIO | None = None
        try:
            self._open()
            self.done = self._resume()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append(
        self,
        idx: int,
        label: int,
        predict: int,
        radius: float,
        seconds: float,
        results: Mapping[str, object],
    ) -> None:
        """Writes the row of one image.

        Args:
            idx: int, the place of the image in its test set.
            label: int, the true class.
            predict: int, the certified class, -1 for abstention.
            radius: float, written rounded down.
            seconds: float, NaN if unknown.
            results: dict of the further columns named at the beginning.

        Raises:
            OSError: if the row cannot be written, on a full disk for instance.
        """
        values = {
            **results,
            "idx": idx,
            "label": label,
            "predict": predict,
            "radius": radius,
            "correct": is_correct(label, predict),
            "time": seconds,
            **self._settings,
        }
        self._append(values)

    def append_table(self, table: Table) -> None:
        """Writes the rows of another file, as they are written there.

        Rows of images that are in `done` are only compared.

        Args:
            table: `Table` of a file with the same settings and columns.

        Raises:
            ValueError: if it has other columns, or other results for an image.
            FileExistsError: if it has other settings.
        """
        missing = {*self._columns} - {*table.header}
        if missing or {*table.header} - {*self._columns} - schema.LATER:
            raise ValueError(
                f"{table.path} has other columns than {self._path} (such as "
                f"{', '.join(map(shown, sorted({*table.header} ^ {*self._columns})[:3]))}). Remove "
                "it; its image will be certified again."
            )
        self._check_settings(table.records)
        for record, row in zip(table.records, table.rows, strict=True):
            if record.idx in self.done:
                refusals.check_equal(self.done[record.idx], record, table.path)
            else:
                self._append(dict(zip(table.header, row, strict=True)))
                self.done[record.idx] = record

    def sort(self) -> None:
        """Brings the rows into the order of the indices, at once or not at all.

        Images become known in another order when a run was interrupted; sorted, the file is that of
        an uninterrupted run, times aside.
        """
        text = self._path.read_text(encoding="utf-8")
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
        rows.sort(key=lambda row: schema.parsed("idx", row[0]))
        in_order = "".join(map(written_row, [header, *rows]))
        if in_order != text:
            self._replace(in_order)

    def close(self) -> None:
        """Closes the file and lets other processes have it."""
        if self._file is not None:
            self._file.close()

    def _own_columns(self) -> tuple[str, ...]:
        """Returns the names of the columns before the settings."""
        return schema.names(schema.CERTIFICATE)

    def _records_of(self, text: str) -> tuple[Table, list[Any]]:
        """Returns the table of a text, and its records, which have `idx` and `extra`."""
        table = table_of(text, self._path, _ADVICE)
        return table, table.records

    def _append(self, values: Mapping[str, object]) -> None:
        self._write(written_row(schema.written(name, values[name]) for name in self._columns))

    def _open(self) -> None:
        """Opens and locks what is now under the path."""
        opened = self._path.open("ab")
        self.close()
        self._file = opened
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(
                f"Another process is writing to {self._path}. Wait for it, or give another "
                "--outfile."
            ) from error
        if os.fstat(opened.fileno()).st_ino != self._path.stat().st_ino:
            raise FileExistsError(
                f"Another process has just finished {self._path}. Give the same command again."
            )

    def _resume(self) -> dict[int, Any]:
        """Returns what the file holds. Only a file that is ours is changed."""
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole == 0:
            header = written_row(self._columns)
            # A kill can leave half of the first line, too.
            if not header.encode().startswith(content):
                raise refusals.another_kind(self._path, content, self._columns)
            os.truncate(self._path, 0)
            self._write(header)
            return {}
        text = self._ours(content[:whole])
        table, records = self._records_of(text)
        self._check_settings(records)
        half = content[whole:].decode(errors="replace")
        if half.strip("\r\n"):
            print(self._about_half_a_row(half, table.header), flush=True)
        places = [table.header.index(name) for name in self._columns]
        as_written = "".join(
            written_row(row[place].strip() for place in places)
            for row in (table.header, *table.rows)
        )
        if as_written.encode() != content[:whole]:
            print(f"Brought {self._path} into the form in which it was written.", flush=True)
            self._replace(as_written)
        elif half:
            os.truncate(self._path, whole)
        return {record.idx: record for record in records}

    def _ours(self, content: bytes) -> str:
        """Returns the text of a file of these columns, and leaves out what it has not yet."""
        try:
            text = content.decode("utf-8-sig")
            found = next(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))
        except (UnicodeDecodeError, csv.Error, StopIteration) as error:
            raise refusals.another_kind(self._path, content, self._columns) from error
        names = {name.strip() for name in found}
        missing = {*self._columns} - names
        different = (names - {*self._columns}) | (missing - schema.LATER)
        if different == {refusals.HEAD_DTYPE}:
            now = self._settings.get(refusals.HEAD_DTYPE)
            raise refusals.another_head(self._path, text, now)
        if different:
            raise refusals.another_kind(self._path, content, self._columns)
        self._columns = [name for name in self._columns if name not in missing]
        return text

    def _check_settings(self, records: Iterable[Any]) -> None:
        for record in records:
            # A file of an earlier version was made with what was then the only way: the default.
            before = {
                name: record.extra.get(name, schema.written(name, schema.default(name)))
                for name in self._settings
                if name in self._columns or name not in schema.COSTS
            }
            changed = [
                f"{name}={value} before, {self._settings[name]} now"
                for name, value in before.items()
                if value != self._settings[name]
            ]
            if changed:
                raise refusals.other_settings(self._path, changed)

    def _about_half_a_row(self, half: str, header: tuple[str, ...]) -> str:
        cells, place = half.split("\t"), header.index("idx")
        # The last cell may itself be cut off.
        image = f"image {cells[place].strip()}" if place + 1 < len(cells) else "its image"
        return (
            f"The last row of {self._path} is incomplete, and is dropped; {image} will be "
            "certified again."
        )

    def _replace(self, text: str) -> None:
        with written_whole(self._path) as path:
            path.write_text(text, encoding="utf-8", newline="")
        self._open()

    def _write(self, line: str) -> None:
        # It is open from the beginning on.
        assert self._file is not None
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot write to {self._path} ({error.strerror}). The rows before are safe; make "
                "room and give the same command again",
            ) from error
