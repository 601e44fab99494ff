"""Tables in Markdown, and figures that are rounded down."""

import decimal
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


_PREFIXES = ("", " k", " M", " G", " T", " P", " E")


def with_prefix(value, rounding=decimal.ROUND_HALF_EVEN):
    """Returns a number of at least 0 with three significant digits and a prefix of the SI.

    Args:
        value: int, float or `fractions.Fraction`, finite; above 999 E the digits before the point
            become more.
        rounding: how digits are rounded, as in `decimal`; `decimal.ROUND_DOWN` where the text may
            not claim more than the number.

    Examples:
        >>> evaluation.with_prefix(16_790_000), evaluation.with_prefix(0.01664)
        ('16.8 M', '0.0166')
    """
    exact = fractions.Fraction(value)
    if not exact:
        return "0"
    with decimal.localcontext(prec=60, rounding=rounding):
        digits = decimal.Decimal(exact.numerator) / exact.denominator
    with decimal.localcontext(prec=3, rounding=rounding):
        # Before the prefix is chosen: 999.9 becomes 1000, which is 1 k.
        digits = +digits
    index = min(max(digits.adjusted() // 3, 0), len(_PREFIXES) - 1)
    return f"{digits.scaleb(-3 * index):f}{_PREFIXES[index]}"
