"""Splitting a test set between processes or machines."""

import pathlib
import re


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
