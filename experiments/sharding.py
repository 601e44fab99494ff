"""Splitting a test set between processes or machines, and putting the results together."""

import pathlib
import re

from lsrs_tf.files import written_whole
from lsrs_tf.smoothing import records


def parsed_shard(text):
    """Returns (index, count) of a shard such as '2/4', the second of four, or None for None.

    Raises:
        ValueError: if it is not such a text, or the index is not one of 1 to count.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise ValueError(f"--shard must be like 2/4, the second of four. Received: --shard={text}")
    return index, count


def of_shard(indices, shard):
    """Returns the test images that fall to a shard.

    Args:
        indices: list of int.
        shard: (index, count), or None for all.
    """
    if shard is None:
        return indices
    index, count = shard
    return indices[index - 1 :: count]


def shard_path(path, shard):
    """Returns where a shard writes by default: 'certified.2of4.tsv' beside 'certified.tsv'."""
    path = pathlib.Path(path)
    if shard is None:
        return path
    return path.with_name(f"{path.stem}.{shard[0]}of{shard[1]}{path.suffix}")


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
        found = records.read(path)
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        headers.add(header)
        # What a kill left of a last row is no record.
        for record, line in zip(found, lines, strict=False):
            if record.idx in rows:
                raise ValueError(
                    f"Image {record.idx} is in {sources[record.idx]} and in {path}. Give each "
                    "shard once."
                )
            settings = records.settings_of(record)
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
