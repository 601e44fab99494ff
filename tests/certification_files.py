"""Certification files for tests."""

from lsrs_tf.records import schema
from lsrs_tf.records.reading import written_row
from lsrs_tf.records.schema import is_correct

COLUMNS = schema.names(schema.CERTIFICATE)


def row(idx, label, predict, radius, seconds, extra=()):
    """Returns one line of a file, with its line break; `extra` are further texts."""
    values = idx, label, predict, radius, is_correct(label, predict), seconds
    texts = [schema.written(name, value) for name, value in zip(COLUMNS, values, strict=True)]
    return written_row([*texts, *map(str, extra)])


def file(path, names, rows):
    """Writes a file of the six columns and further ones; rows as for `row`. Returns the path."""
    path.write_text(written_row([*COLUMNS, *names]) + "".join(row(*values) for values in rows))
    return path
