"""Putting the files of shards together."""

import pathlib

from lsrs_tf.files import written_whole
from lsrs_tf.records import reading


def merge(paths, outfile, indices):
    """Puts the certificates of shards into one file, that of a single process but for times.

    Args:
        paths: the files of the shards.
        outfile: file to write; it must not exist.
        indices: list of int, the test images that are to be there.

    Raises:
        FileExistsError: if there is an outfile already.
        FileNotFoundError: if a shard is missing.
        ValueError: if shards are of different settings, or an image is missing, comes twice, or
            does not belong to the test images.
    """
    outfile = pathlib.Path(outfile)
    if outfile.exists():
        raise FileExistsError(f"{outfile} exists already. Remove it, or give another --outfile.")
    first, headers, rows, sources = None, set(), {}, {}
    for path in map(pathlib.Path, paths):
        found = reading.read(path)
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        headers.add(header)
        # What a kill left of a last row is no record.
        for record, line in zip(found, lines, strict=False):
            if record.idx in rows:
                raise ValueError(
                    f"Image {record.idx} is in {sources[record.idx]} and in {path}. Give each "
                    "shard once."
                )
            settings = reading.settings_of(record)
            first = settings if first is None else first
            changed = [
                f"{name}={first.get(name)} and {settings.get(name)}"
                for name in sorted({*first, *settings})
                if first.get(name) != settings.get(name)
            ]
            if changed:
                raise ValueError(
                    f"{path} has other settings than the shards before ({'; '.join(changed)}), so "
                    "that together they mean nothing."
                )
            rows[record.idx], sources[record.idx] = line, path
    missing, foreign = sorted({*indices} - {*rows}), sorted({*rows} - {*indices})
    if missing or foreign or len(headers) != 1:
        raise ValueError(
            "The shards do not make up the test images: "
            f"{len(missing)} are missing{_examples(missing)}, {len(foreign)} do not belong to "
            f"them{_examples(foreign)}. Finish the shards, and give the --num_images they had."
        )
    with written_whole(outfile) as path:
        path.write_text("\n".join([*headers, *(rows[idx] for idx in sorted(rows)), ""]))


def _examples(indices):
    if not indices:
        return ""
    return f" (such as {', '.join(map(str, indices[:3]))})"
