"""Certifies again from the votes in a file, without the model: at another alpha, for instance.

    python -m experiments.recertify runs/cifar_ls/certified.tsv --alpha=0.01 --outfile=at_01.tsv

Choose the settings before you see the certificates: settings that are picked for the certificates
they give prove less than they say.
"""

import pathlib

from absl import flags

from experiments import command_line, shared_flags
from lsrs_tf.certification.settings import check_enough_samples, checked_against
from lsrs_tf.records import schema
from lsrs_tf.records.consistency import NEEDED
from lsrs_tf.records.journal import Journal
from lsrs_tf.records.reading import read_table
from lsrs_tf.statistics.confidence import check_alpha, checked_count
from lsrs_tf.statistics.radius_scale import RadiusScale

_CHANGED = ("alpha", "against")

flags.DEFINE_string("outfile", None, "File to write.")
shared_flags.define_alpha()
shared_flags.define_against()
flags.adopt_module_key_flags(command_line)


def recertify_file(path, outfile, alpha=None, against=None):
    """Writes the certificates of a file at another alpha, or against another probability.

    Args:
        path: certification file of this package, of `--method=fixed`, or the folder of a run.
        outfile: file to write; it must not exist.
        alpha: float in (0, 1), or None for that of the file.
        against: 'half' or 'runner_up', see `lsrs_tf.certify`, or None for that of the file.

    Raises:
        FileExistsError: if there is an outfile already.
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, holds no votes, or those of sequential tests, or nothing
            could be certified with its number of samples.
    """
    if pathlib.Path(outfile).exists():
        raise FileExistsError(f"{outfile} exists already. Remove it, or give another --outfile.")
    table = read_table(path)
    if not table.records:
        raise ValueError(f"{table.path} holds no certified image yet.")
    first = table.records[0]
    _check_votes(first, table.path)
    common = {"against": first.value("against"), **first.settings}
    alpha = first.value("alpha") if alpha is None else alpha
    against = first.value("against") if against is None else against
    # So that the file is not taken for one to go on with.
    origin = {
        f"recertified_from_{name}": common.get(f"recertified_from_{name}", common[name])
        for name in _CHANGED
    }
    settings = {**first.settings, "alpha": alpha, "against": against, **origin}
    n0, n = first.value("n0"), first.value("n")
    check_enough_samples(checked_count(n, "n"), check_alpha(alpha), checked_against(against))
    labels = [int(record.votes[0].argmax()) for record in table.records]
    proven = [
        _scale(record).proven(record.votes[1], label, n=n, alpha=alpha, against=against)
        for record, label in zip(table.records, labels, strict=True)
    ]
    with Journal(outfile, settings, _results(table)) as file:
        for record, label, (radius, p_lower) in zip(table.records, labels, proven, strict=True):
            results = {"clean": None, **record.extra, "p_lower": p_lower, "samples": n0 + n}
            predict = label if radius > 0 else -1
            file.append(record.idx, record.label, predict, radius, record.seconds, results)


def _scale(record):
    return RadiusScale(*(record.value(name) for name in ("sigma", "lipschitz", "radius_loss")))


def _results(table):
    """Returns the columns to write after the settings; what else the file holds stays with it."""
    results = [
        name
        for name in schema.results_of("fixed")
        if name in table.header or name not in schema.LATER
    ]
    known = {column.name for column in schema.COLUMNS}
    return [*results, *(name for name in table.header if name not in known)]


def _check_votes(record, path):
    if record.value("method") == "margin":
        raise ValueError(
            f"{path} holds certificates by margins, which are certain: there is no alpha to "
            "change, and nothing to do."
        )
    missing = ({"n0"} | NEEDED) - set(record.extra)
    if missing:
        raise ValueError(
            f"{path} does not hold the votes that new certificates need; it has no column "
            f"{', '.join(sorted(missing))}. Certify with `python -m experiments.certify`."
        )
    if record.value("method") != "fixed":
        raise ValueError(
            f"{path} holds votes of sequential tests, whose number depends on the alpha at which "
            "they were taken. Certify again, or use --method=fixed."
        )


def main(argv):
    """Certifies again."""
    if len(argv) != 2:
        raise ValueError("Give one file of certificates.")
    flag = flags.FLAGS
    # What is not asked for stays as it was, whatever the flags' defaults.
    alpha, against = (flag[name].value if flag[name].present else None for name in _CHANGED)
    if alpha is None and against is None:
        raise ValueError("Give another --alpha, another --against, or both.")
    recertify_file(argv[1], flag.outfile, alpha, against)
    print(f"Wrote {flag.outfile}. Next: python -m experiments.report {flag.outfile}")


if __name__ == "__main__":
    command_line.run(main, required=["outfile"])
