"""Which flags the arguments are that an error of the library names."""

import re

# An argument in an error of the library: `name`, or name=value. What begins with -- is a flag.
_ARGUMENT = re.compile(r"`([a-z]\w*)`|(?<![\w./-])([a-z]\w*)=(?=\S)")
# Arguments whose flag has another name in some commands, with the names in the order of preference.
_NAMES = {
    "batch_size": ("certify_batch_size", "batch_size"),
    "n": ("n", "predict_n"),
}


def line_of_flags(message, known):
    """Returns a line with the flags of the arguments that a message names.

    The message itself stays as it is: not everything that looks like an argument is one.

    Args:
        message: str, what an error says, in terms of Python.
        known: container of the names of all flags of this command.

    Returns:
        str that begins with a new line, or an empty one where the message names no argument that
        this command has a flag for, or names all of their flags itself.
    """
    arguments = dict.fromkeys(quoted or given for quoted, given in _ARGUMENT.findall(message))
    told = []
    for argument in arguments:
        flag = next((name for name in _NAMES.get(argument, (argument,)) if name in known), None)
        if flag is not None and not re.search(rf"--{flag}\b", message):
            told.append(f"--{flag}" if flag == argument else f"--{flag} (`{argument}`)")
    return f"\nFlags of this command: {', '.join(told)}." if told else ""
