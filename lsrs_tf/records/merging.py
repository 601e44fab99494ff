"""Puts the files of shards together."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from lsrs_tf.files import written_whole
from lsrs_tf.records import schema
from lsrs_tf.records.layout import Layout
from lsrs_tf.records.notation import examples, shown
from lsrs_tf.records.reading import read_table, written_row
from lsrs_tf.records.schema import Record


def merge(
    paths: Iterable[str | os.PathLike[str]],
    outfile: str | os.PathLike[str],
    indices: Collection[int],
    check_images: Callable[[list[Record]], None] | None = None,
) -> None:
    """Puts the certificates of shards into one file, that of a single process but for times.

    Args:
        paths: the files of the shards.
        outfile: file to write; it must not exist.
        indices: list of int, the test images that are to be there.
        check_images: function (records) that raises `ValueError` if records are not of the images
            that they should be of, or None.

    Raises:
        FileExistsError: if there is an outfile already.
        FileNotFoundError: if a shard is missing.
        ValueError: if a row is damaged or contradicts its votes, shards are of different settings,
            or an image is missing, comes twice, or does not belong to the test images.
    """
    shards = [_Shard.of_certificates(path) for path in paths]
    _merge(shards, outfile, indices, check_images)


def merge_layout(
    layout: Layout[Any],
    paths: Iterable[str | os.PathLike[str]],
    outfile: str | os.PathLike[str],
    indices: Collection[int],
    check_images: Callable[[list[Any]], None] | None = None,
) -> None:
    """Puts the attacks, or the estimates, of shards into one file; see `merge`.

    Args:
        layout: `Layout` of the files, such as that of `records.attacks`.
        paths: as for `merge`, as are the others.
        outfile: str or path.
        indices: list of int.
        check_images: function (records), or None.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: as `merge`.
    """
    shards = [_Shard.of_layout(layout, path) for path in paths]
    _merge(shards, outfile, indices, check_images)


@dataclasses.dataclass(frozen=True)
class _Shard:
    """The file of a shard as it is written, its records, and the settings of each of them."""

    path: pathlib.Path
    header: tuple[str, ...]
    rows: list[list[str]]
    records: Sequence[Any]
    settings: list[dict[str, str]]

    @classmethod
    def of_certificates(cls, path: str | os.PathLike[str]) -> "_Shard":
        table = read_table(path)
        settings = [record.settings for record in table.records]
        return cls(table.path, table.header, table.rows, table.records, settings)

    @classmethod
    def of_layout(cls, layout: Layout[Any], path: str | os.PathLike[str]) -> "_Shard":
        table, records = layout.read_table(path)
        settings = [layout.settings_of(record) for record in records]
        return cls(table.path, table.header, table.rows, records, settings)


def _merge(
    tables: Sequence[_Shard],
    outfile: str | os.PathLike[str],
    indices: Collection[int],
    check_images: Callable[[list[Any]], None] | None,
) -> None:
    outfile = pathlib.Path(outfile)
    if outfile.exists():
        raise FileExistsError(f"{outfile} exists already. Remove it, or give another --outfile.")
    _check_settings(tables)
    rows, sources = {}, {}
    columns = _common_columns(tables)
    costs = _costs(tables)
    for table in tables:
        for record, row in zip(table.records, table.rows, strict=True):
            if record.idx in rows:
                raise ValueError(
                    f"Image {record.idx} is in {sources[record.idx]} and in {table.path}. Give "
                    "each shard once."
                )
            texts = {**costs, **dict(zip(table.header, row, strict=True))}
            rows[record.idx] = [texts.get(name, schema.UNKNOWN) for name in columns]
            sources[record.idx] = table.path
    missing, foreign = sorted({*indices} - {*rows}), sorted({*rows} - {*indices})
    if missing or foreign:
        raise ValueError(
            "The shards do not make up the test images: "
            f"{len(missing)} are missing{examples(missing)}, {len(foreign)} do not belong to "
            f"them{examples(foreign)}. Finish the shards, and give the --num_images they had."
        )
    if check_images is not None:
        check_images([record for table in tables for record in table.records])
    with written_whole(outfile) as path:
        lines = [columns, *(rows[idx] for idx in sorted(rows))]
        path.write_text("".join(map(written_row, lines)), encoding="utf-8", newline="")


def _common_columns(tables: Sequence[_Shard]) -> tuple[str, ...]:
    """Returns the columns of all shards; those that came later may be missing in some."""
    most = max((table.header for table in tables), key=len)
    for table in tables:
        other = {*most} ^ {*table.header}
        if other - schema.LATER:
            raise ValueError(
                f"{table.path} has other columns than the other shards (such as "
                f"{', '.join(map(shown, sorted(other)[:3]))}). Give files of shards of one test "
                "set, made with the same settings."
            )
    names = {name for table in tables for name in table.header}
    return (*most, *sorted(names - {*most}))


def _check_settings(tables: Iterable[_Shard]) -> None:
    first: dict[str, str] | None = None
    for table in tables:
        for settings in table.settings:
            first = {**settings, **(first or {})}
            changed = [
                f"{name}={first.get(name)} and {settings.get(name)}"
                for name in sorted({*first, *settings} - _untold(first, settings))
                if first.get(name) != settings.get(name)
            ]
            if changed:
                raise ValueError(
                    f"{table.path} has other settings than the shards before "
                    f"({'; '.join(changed)}), so that together they mean nothing."
                )


def _untold(first: dict[str, str], settings: dict[str, str]) -> set[str]:
    """Returns the costs that only one of two rows tells."""
    return ({*first} ^ {*settings}) & {*schema.COSTS}


def _costs(tables: Iterable[_Shard]) -> dict[str, str]:
    """Returns what shards tell of costs, for shards of earlier versions that lack them.

    The other settings, and the model among them, are the same in all shards.
    """
    return {
        name: settings[name]
        for table in tables
        for settings in table.settings
        for name in schema.COSTS
        if name in settings
    }
