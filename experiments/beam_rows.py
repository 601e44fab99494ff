"""Rows of certification files on the way from workers: a file for each image, in one folder."""

import os
import pathlib
import tempfile
import uuid

from apache_beam.io.filesystems import FileSystems

from experiments.certified_test_set import append
from lsrs_tf.records.journal import Journal
from lsrs_tf.records.reading import table_of

# The endings of the files: a row, and why an image has none.
_ROW, _FAILURE = ".tsv", ".failed"


class RowFolder:
    """A folder with one file for each row, on any file system that Beam knows.

    Files appear whole or not at all. An engine that tries an image again writes another file; rows
    of one image must be equal, see `Journal.append_table`.

    Args:
        path: str, the folder, under the same name for all workers.
    """

    def __init__(self, path):
        self.path = os.fspath(path)

    def create(self):
        """Makes the folder, unless it is there."""
        if not FileSystems.exists(self.path):
            FileSystems.mkdirs(self.path)

    def remove(self):
        """Removes the folder with all files."""
        if FileSystems.exists(self.path):
            FileSystems.delete([self.path])

    def write_row(self, settings, about, certificate, seconds):
        """Writes the row of an image, a certification file of one row.

        Args:
            settings: dict of column to value, in their order.
            about: (index, label, fingerprint) of the image.
            certificate: `lsrs_tf.certification.certificate.Certificate`.
            seconds: float, time that went into it.
        """
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "row.tsv"
            with Journal(path, settings) as file:
                append(file, *about, certificate, seconds)
            self._write(about[0], _ROW, path.read_text(encoding="utf-8"))

    def write_failure(self, index, message):
        """Notes why an image has no certificate."""
        self._write(index, _FAILURE, message)

    def tables(self):
        """Returns the list of `Table`, one for each row.

        Raises:
            ValueError: if a row is damaged, or contradicts its votes.
        """
        return [
            table_of(text, pathlib.Path(name), "Remove the file; its image is certified again.")
            for name, text in self._files(_ROW)
        ]

    def failures(self):
        """Returns dict of index to message, of the images that were not certified."""
        return {
            int(pathlib.PurePath(name).name.split(".")[0]): text
            for name, text in self._files(_FAILURE)
        }

    def forget_failures(self):
        """Removes the notes, so that these images are tried again."""
        names = [name for name, _ in self._files(_FAILURE)]
        if names:
            FileSystems.delete(names)

    def _write(self, index, ending, text):
        final = FileSystems.join(self.path, f"{index}.{uuid.uuid4().hex}{ending}")
        unfinished = f"{final}.unfinished"
        with FileSystems.create(unfinished, mime_type="text/plain") as file:
            file.write(text.encode())
        FileSystems.rename([unfinished], [final])

    def _files(self, ending):
        """Yields (name, text) of the files with an ending."""
        pattern = FileSystems.join(self.path, f"*{ending}")
        (found,) = FileSystems.match([pattern])
        for one in sorted(found.metadata_list, key=lambda one: one.path):
            with FileSystems.open(one.path, mime_type="text/plain") as file:
                yield one.path, file.read().decode()
