"""Tables in Markdown, and figures that are rounded down."""

import fractions

import tabulate


def markdown_table(header, rows):
    """Returns a table in Markdown; every cell is shown as it is.

    Args:
        header: list of str.
        rows: list of lists of str.

    Returns:
        str that ends with a line break.

    Examples:
        >>> print(evaluation.markdown_table(["radius", "accuracy"], [["0.25", "0.900"]]), end="")
        | radius   | accuracy   |
        |----------|------------|
        | 0.25     | 0.900      |
    """
    table = tabulate.tabulate(rows, headers=header, tablefmt="github", disable_numparse=True)
    return f"{table}\n"


def rounded_down(value, places):
    """Returns a number of at least 0 as a decimal of so many places that is not above it.

    Args:
        value: float or `fractions.Fraction`; a float stands for the decimal that it is written as.
        places: int.

    Examples:
        >>> evaluation.rounded_down(0.48199, places=3)
        '0.481'
    """
    exact = value if isinstance(value, fractions.Fraction) else fractions.Fraction(str(value))
    whole = exact * 10**places // 1
    return f"{whole // 10**places}.{whole % 10**places:0{places}d}"
