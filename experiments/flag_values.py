"""Reading flags that hold lists of numbers."""

from absl import flags


def number_list(name):
    """Returns a flag of words, separated by commas, as floats; None if it is not given.

    Args:
        name: str, the flag.

    Raises:
        ValueError: if a word is no number.
    """
    given = flags.FLAGS[name].value
    if given is None:
        return None
    try:
        return [float(word) for word in given]
    except ValueError as error:
        raise ValueError(
            f"--{name} must be numbers, separated by commas, such as 0.25,0.5. "
            f"Received: {','.join(given)}"
        ) from error
