"""The numbers of the versions in a folder that a server watches."""

import pathlib


def numbers_in(directory: pathlib.Path) -> list[int]:
    """Returns the numbers of the versions in a folder, which need not exist, ascending."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def renamed_to_next(temporary: pathlib.Path) -> pathlib.Path:
    """Gives a folder the next number in its folder, and returns the new path.

    Args:
        temporary: folder of a version that is finished.
    """
    directory = temporary.parent
    while True:
        version = directory / str(max(numbers_in(directory), default=0) + 1)
        try:
            # Another export may take the number first; a folder with content is never replaced.
            return temporary.rename(version)
        except OSError:
            if not version.exists():
                raise
