"""What the commands share: flag files by name, errors for people."""

import pathlib
import sys

from absl import app, flags, logging

# The exit status of a command that was stopped by Ctrl-C.
_INTERRUPTED = 130
# The exit status of a command that found attacks inside certificates.
CONTRADICTED = 3
# The exit status of a command whose images were not all answered.
REFUSED = 4
_FLAG_FILES = pathlib.Path(__file__).parent / "flags"

flags.DEFINE_boolean("debug", False, "Show the traceback of an error.")


def run(main):
    """Parses flags and runs `main(argv)`; errors that a user can fix end without a traceback.

    Args:
        main: function of the arguments that are left after the flags.
    """

    def guarded(argv):
        # The libraries' notes of what they read and write would bury the program's own.
        logging.set_verbosity(logging.ERROR)
        try:
            main(argv)
        except KeyboardInterrupt:
            print(
                "\nInterrupted. No file is left incomplete. Give the same command again to go on "
                "from what it had finished.",
                file=sys.stderr,
            )
            sys.exit(_INTERRUPTED)
        except (ValueError, FileNotFoundError, FileExistsError, OSError) as error:
            if flags.FLAGS.debug:
                raise
            sys.exit(f"error: {error}")

    try:
        argv = with_packaged_flag_files(sys.argv)
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    app.run(guarded, argv=argv)


def refuse_arguments(argv):
    """Raises if a command that takes flags only was given anything else."""
    if len(argv) > 1:
        raise ValueError(f"Unexpected arguments: {' '.join(argv[1:])}. Flags begin with --.")


def with_packaged_flag_files(argv):
    """Replaces flag files that are not in the working directory by the packaged ones.

    Args:
        argv: list of str, the command line.

    Returns:
        The command line with the paths of flag files resolved.

    Raises:
        FileNotFoundError: if a flag file is neither a path nor the name of a packaged one.
    """
    resolved = []
    follows = False
    for argument in argv:
        option, equals, value = argument.partition("=")
        if follows:
            resolved.append(_flag_file(argument))
            follows = False
        elif option in ("--flagfile", "-flagfile"):
            resolved.append(f"{option}={_flag_file(value)}" if equals else argument)
            follows = not equals
        else:
            resolved.append(argument)
    return resolved


def _flag_file(name):
    if pathlib.Path(name).is_file():
        return name
    packaged = _FLAG_FILES / name
    if pathlib.Path(name).name == name and packaged.is_file():
        return str(packaged)
    known = ", ".join(sorted(path.name for path in _FLAG_FILES.glob("*.flags")))
    raise FileNotFoundError(
        f"There is no flag file {name!r} in {pathlib.Path.cwd()}, and no packaged one of that "
        f"name. Packaged: {known}."
    )
