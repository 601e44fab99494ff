"""Progress of what takes long: a bar in a terminal, a line now and then in a log."""

import sys

from tqdm import tqdm

# Seconds between the lines of a log.
_INTERVAL = 10


class _Lines:
    """A stream that gets each state of a bar as a line of its own."""

    def write(self, text):
        """Writes a text without what moves the cursor of a terminal."""
        text = text.strip("\r\n")
        if text:
            sys.stderr.write(f"{text}\n")

    def flush(self):
        """Writes what is waiting."""
        sys.stderr.flush()


def progress(entries=None, *, shown=True, **options):
    """Returns a `tqdm` over entries that suits where it is written to.

    Args:
        entries: iterable, or None for a bar that is updated by hand.
        shown: bool, whether it is shown at all.
        **options: of `tqdm`, such as `desc`, `unit`, `total` and `delay`.
    """
    if sys.stderr.isatty():
        return tqdm(entries, disable=not shown, **options)
    return tqdm(
        entries,
        disable=not shown,
        file=_Lines(),
        mininterval=_INTERVAL,
        # Never sooner: many quick images would otherwise write many lines.
        miniters=1,
        ncols=80,
        **{**options, "leave": True},
    )
