"""The certification of test images by a pipeline of Apache Beam."""

import functools

import apache_beam as beam
import numpy as np

from experiments import beam_runs, datasets
from experiments.beam_rows import RowFolder
from experiments.certified_test_set import check_images, missing_images
from experiments.datasets import fingerprint_of
from lsrs_tf.records.journal import Journal


def certify_test_images(path, settings, data, indices, options, certify, data_dir=None, chunks=256):
    """Certifies test images into a file, leaving out those that it holds already.

    The rows of a pipeline that has failed, or was interrupted, are in the file or in a folder next
    to it, and are not made again.

    Args:
        path: the certification file.
        settings: dict of column to value, see `certified_test_set.settings_of`.
        data: `datasets.ImageData`.
        indices: increasing list of int, which test images; the file may hold no others.
        options: `PipelineOptions`.
        certify: `lsrs_tf.beam.Certify`, with `timed`.
        data_dir: folder of tensorflow-datasets on the workers, or None for its default.
        chunks: int, into how many parts the images are divided at most.

    Returns:
        dict of index to message, of images that could not be certified.

    Raises:
        OSError: if the pipeline fails.
        ValueError: if a row is not what it should be: see `Journal.append_table` and
            `certified_test_set.check_images`.
    """
    folder = RowFolder(f"{path}.rows")
    with Journal(path, settings) as file:
        folder.create()
        tables = folder.tables()
        held = {record.idx: record for table in tables for record in table.records}
        missing = missing_images({**held, **file.done}, indices, data, path)
        _append(file, tables)
        if missing:
            folder.forget_failures()
            try:
                beam_runs.run(
                    functools.partial(
                        _build,
                        chunks=_chunks(missing, chunks),
                        images=_Images(data.name, data_dir, settings["data_fingerprint"]),
                        certify=certify,
                        write=_Write(folder, settings),
                        failure=_Failure(folder),
                    ),
                    options,
                )
            finally:
                _collect(folder, file, data)
        file.sort()
    failures = {index: text for index, text in folder.failures().items() if index not in file.done}
    left = sorted({*indices} - {*file.done} - {*failures})
    if left:
        raise OSError(
            f"the pipeline has ended without {len(left)} images (such as {left[0]}). Give the same "
            "command again to go on"
        )
    folder.remove()
    return failures


def _collect(folder, file, data):
    """Brings the rows of a folder into a file, after a check of their images."""
    tables = folder.tables()
    new = {record.idx: record for table in tables for record in table.records}
    for index, record in new.items():
        # Workers write it in every row; without it only labels would be compared.
        if record.value("image_fingerprint") is None:
            raise ValueError(
                f"A row of image {index} in {folder.path} does not say of which image it is. "
                "Remove the folder; its images will be certified again."
            )
    check_images(
        [record for index, record in new.items() if index not in file.done], data, folder.path
    )
    _append(file, tables)


def _append(file, tables):
    for table in tables:
        file.append_table(table)


def _chunks(indices, count):
    """Returns at most so many lists of neighbours, of sizes that differ by one at most."""
    count = min(count, len(indices))
    return [
        indices[part * len(indices) // count : (part + 1) * len(indices) // count]
        for part in range(count)
    ]


def _build(pipeline, chunks, images, certify, write, failure):
    certified, failed = (
        pipeline
        | "Parts of the test set" >> beam.Create(chunks)
        # Or one worker would get all of them.
        | "Distribute" >> beam.Reshuffle()
        | "Read images" >> beam.ParDo(images)
        | "Certify" >> certify
    )
    certified | "Write rows" >> beam.ParDo(write)
    failed | "Write failures" >> beam.ParDo(failure)


class _Images(beam.DoFn):
    """Reads test images; their keys are (index, label, fingerprint).

    Args:
        name: str, the data set.
        data_dir: folder of tensorflow-datasets, or None.
        fingerprint: str, what the data set must have.
    """

    def __init__(self, name, data_dir, fingerprint):
        super().__init__()
        self._name, self._data_dir, self._fingerprint = name, data_dir, fingerprint

    def process(self, element):
        """Yields the images of a list of indices."""
        data = _checked_data(self._name, self._data_dir, self._fingerprint)
        for index, (image, label) in zip(element, data.test(element), strict=True):
            yield (index, int(label), fingerprint_of(image)), np.asarray(image)


@functools.cache
def _checked_data(name, data_dir, fingerprint):
    data = datasets.load(name, data_dir)
    found = data.fingerprint()
    if found != fingerprint:
        raise ValueError(
            f"A worker has other images of {name}: their fingerprint is {found}, that of the "
            f"process that started it is {fingerprint}. Give all workers the same --data_dir."
        )
    return data


class _Write(beam.DoFn):
    """Writes rows to a `RowFolder`."""

    def __init__(self, folder, settings):
        super().__init__()
        self._folder, self._settings = folder, settings

    def process(self, element):
        """Writes one row."""
        about, (certificate, seconds) = element
        self._folder.write_row(self._settings, about, certificate, seconds)


class _Failure(beam.DoFn):
    """Notes in a `RowFolder` which images could not be certified."""

    def __init__(self, folder):
        super().__init__()
        self._folder = folder

    def process(self, element):
        """Writes one note."""
        (index, *_), message = element
        self._folder.write_failure(index, message)
