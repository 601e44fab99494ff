"""What the commands share: flag files by name, errors for people."""

import pathlib
import sys

from absl import app, flags, logging

from experiments.flag_names import line_of_flags

# The exit status of a command that was stopped by Ctrl-C.
_INTERRUPTED = 130
# The exit status of a command that found attacks inside certificates.
CONTRADICTED = 3
# The exit status of a command whose images were not all answered.
REFUSED = 4
_FLAG_FILES = pathlib.Path(__file__).parent / "flags"

flags.DEFINE_boolean("debug", False, "Show the traceback of an error.")


def run(main, required=()):
    """Parses flags and runs `main(argv)`; errors that a user can fix end without a traceback.

    Args:
        main: function of the arguments that are left after the flags, in the module of the command,
            whose docstring has an example.
        required: names of the flags that have to be given.
    """

    def guarded(argv):
        # The libraries' notes of what they read and write would bury the program's own.
        logging.set_verbosity(logging.ERROR)
        try:
            _refuse_missing(required, argv, main)
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
            sys.exit(f"error: {error}{line_of_flags(str(error), flags.FLAGS)}")

    try:
        argv = with_packaged_flag_files(sys.argv)
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    app.run(guarded, argv=argv)


def refuse_arguments(argv):
    """Raises if a command that takes flags only was given anything else."""
    if len(argv) > 1:
        raise ValueError(f"Unexpected arguments: {' '.join(argv[1:])}. Flags begin with --.")


def _refuse_missing(required, argv, main):
    """Raises if flags that a command needs were not given, with an example from its docstring."""
    missing = [f"--{name}" for name in required if flags.FLAGS[name].value is None]
    if not missing:
        return
    command = f"python -m experiments.{pathlib.Path(main.__code__.co_filename).stem}"
    examples = [
        line.strip()
        for line in (main.__globals__["__doc__"] or "").splitlines()
        if line.strip().startswith(f"{command} ")
    ]
    text = f"{', '.join(missing)} must be given"
    if examples:
        text += f", for example:\n\n    {examples[0]}\n\n"
    else:
        text += ". "
    received = f"Received without a flag: {' '.join(argv[1:])}. " if argv[1:] else ""
    raise ValueError(f"{text}{received}All flags: {command} --helpshort")


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
