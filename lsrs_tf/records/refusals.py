"""Why a file of certificates is not gone on with."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from lsrs_tf.records.notation import shown
from lsrs_tf.records.reading import GZIP

# The column that only files of a head that was cast have.
HEAD_DTYPE = "head_dtype"
_OWN = "own"


def other_settings(path: pathlib.Path, changed: Iterable[str]) -> FileExistsError:
    """Returns the error about a file that was begun with other settings.

    Args:
        path: the file.
        changed: texts, each of a setting, with what it was before and what it is now.
    """
    return FileExistsError(
        f"{path} was begun with other settings ({'; '.join(changed)}). Mixing them would make the "
        "results meaningless. Give the command that writes it another --outfile, or remove the "
        "file."
    )


def another_head(path: pathlib.Path, text: str, now: str | None) -> FileExistsError:
    """Returns the error about a file of a head that was cast, where it is not now, or vice versa.

    Args:
        path: the file.
        text: its whole lines.
        now: what the head is cast to now, or None for its own dtype.
    """
    before = _OWN
    if now is None:
        # Without a row, the header alone says that the head was cast.
        before = "cast"
        header, *rows = (
            [cell.strip(' "') for cell in line.split("\t")] for line in text.splitlines()[:2]
        )
        for row in rows:
            before = dict(zip(header, row, strict=False)).get(HEAD_DTYPE) or before
    return other_settings(path, [f"{HEAD_DTYPE}: {before} before, {now or _OWN} now"])


def another_kind(path: pathlib.Path, content: bytes, columns: Sequence[str]) -> FileExistsError:
    """Returns the error about a file that is not one of certificates, or has other columns.

    Args:
        path: the file.
        content: what it holds.
        columns: names of the columns that are expected.
    """
    if content.startswith(GZIP):
        return FileExistsError(
            f"{path} is compressed, and rows cannot be appended to it. Decompress it (gunzip), or "
            "give another --outfile."
        )
    first = content.splitlines()[0].decode("utf-8-sig", errors="replace")
    found = [name.strip() for name in first.split("\t")]
    others = [shown(name) for name in found if name not in columns][:3]
    missing = [name for name in columns if name not in found][:3]
    return FileExistsError(
        f"{path} is another kind of file, or has other columns (it has "
        f"{', '.join(others) or 'none'} in addition to those expected, and lacks "
        f"{', '.join(missing) or 'none'}). Give another --outfile, or remove the file."
    )


def check_equal(before: Any, now: Any, path: pathlib.Path) -> None:
    """Raises if two records of one image differ in more than the time."""
    times = {"seconds": 0.0}
    one, other = (dataclasses.replace(record, **times) for record in (before, now))
    different = {name for name, text in other.extra.items() if one.extra.get(name, text) != text}
    own = dataclasses.replace(one, extra={}) != dataclasses.replace(other, extra={})
    if own or different:
        raise ValueError(
            f"{path} has another certificate for image {now.idx} than was found before (it differs "
            f"in {', '.join(sorted(different)) or 'the certificate itself'}): one of two machines "
            "computes otherwise. Certify on machines of one kind."
        )
