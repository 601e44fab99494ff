import fcntl
import os
import pathlib

from lsrs_tf.files import written_whole
from lsrs_tf.records import reading
from lsrs_tf.records.consistency import check_record


class Journal:
    """A certification file that is open for appending, and resumes where it was left.

    Every row is on disk before the next image begins. A kill can leave half a row at the end; it is
    cut off when the file is opened again, and that image is certified again.

    Args:
        path: the file; it is created with its folder if missing.
        settings: dict of str to value, in the order of the columns, that all rows must agree on.
        results: list of str, further columns of each row after the settings.

    Attributes:
        done: dict of index to `reading.Record`, what the file held when it was opened.

    Raises:
        FileExistsError: if the file was begun with other settings, or another process writes to it.
        ValueError: if the file is damaged.
    """

    def __init__(self, path, settings, results):
        self._path = pathlib.Path(path)
        self._settings = {name: str(value) for name, value in settings.items()}
        self._results = list(results)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_dir():
            raise FileExistsError(f"{self._path} is a folder. Give the name of a file.")
        self._file = self._path.open("ab")
        try:
            self._lock()
            self.done = self._open()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def append(self, idx, label, predict, radius, seconds, results):
        """Writes the row of one image; see `reading.format_row`.

        Args:
            idx: int, the place of the image in its test set.
            label: int, the true class.
            predict: int, the certified class, -1 for abstention.
            radius: float.
            seconds: float.
            results: dict of the further columns named at the beginning.

        Raises:
            OSError: if the row cannot be written, on a full disk for instance.
        """
        extra = [*self._settings.values(), *(results[name] for name in self._results)]
        self._write(reading.format_row(idx, label, predict, radius, seconds, extra))

    def sort(self):
        """Brings the rows into the order of the indices, at once or not at all.

        Images become known in another order when a run was interrupted; sorted, the file is that of
        an uninterrupted run, times aside.
        """
        header, *rows = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        in_order = sorted(rows, key=lambda row: int(row.split("\t", 1)[0]))
        if rows != in_order:
            with written_whole(self._path) as path:
                path.write_text(header + "".join(in_order), encoding="utf-8")

    def close(self):
        """Closes the file and lets other processes have it."""
        self._file.close()

    def _lock(self):
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(
                f"Another process is writing to {self._path}. Wait for it, or write elsewhere."
            ) from error
        if os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino:
            raise FileExistsError(
                f"Another process has just finished {self._path}. Give the same command again."
            )

    def _open(self):
        header = "\t".join([*reading.COLUMNS, *self._settings, *self._results]) + "\n"
        self._cut_off_half_a_row(header)
        if self._path.stat().st_size == 0:
            self._write(header)
            return {}
        done = {record.idx: record for record in reading.read(self._path)}
        for record in done.values():
            check_record(record, self._path)
            changed = [
                f"{name}={record.extra[name]} before, {value} now"
                for name, value in self._settings.items()
                if record.extra[name] != value
            ]
            if changed:
                raise FileExistsError(
                    f"{self._path} was begun with other settings ({'; '.join(changed)}). Mixing "
                    "them would make the results meaningless: write elsewhere, or remove the file."
                )
        return done

    def _cut_off_half_a_row(self, header):
        with self._path.open("rb+") as file:
            content = file.read()
            # Looked at first: a file that is not ours must not lose its last line.
            begun = content[: len(header)]
            if begun != header.encode()[: len(begun)]:
                found = content.split(b"\n")[0].decode(errors="replace").split("\t")
                expected = header.rstrip("\n").split("\t")
                foreign = [name[:40] for name in found if name not in expected][:5]
                missing = [name for name in expected if name not in found][:5]
                raise FileExistsError(
                    f"{self._path} is another kind of file, or has other columns (it has "
                    f"{', '.join(foreign) or 'none'} beside those expected, and lacks "
                    f"{', '.join(missing) or 'none'}). Write elsewhere, or remove the file."
                )
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)

    def _write(self, line):
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
