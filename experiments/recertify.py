"""Certifies again from the votes in a file, without the model: at another alpha, for instance.

    python -m experiments.recertify runs/cifar_ls/certified.tsv --alpha=0.01 --outfile=at_01.tsv

Settings are to be chosen for their own sake: those picked for the certificates they give prove less
than they say.
"""

import pathlib

from absl import flags

from experiments import against_flag, alpha_flag, command_line
from lsrs_tf.records import reading
from lsrs_tf.records.consistency import check_record
from lsrs_tf.records.journal import Journal
from lsrs_tf.smoothing.recertification import recertified
from lsrs_tf.smoothing.settings import checked_certification_settings

_CHANGED = ("alpha", "against")

flags.DEFINE_string("outfile", None, "File to write.")
flags.adopt_module_key_flags(against_flag)
flags.adopt_module_key_flags(alpha_flag)
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
        ValueError: if the file holds no votes, or those of sequential tests.
    """
    if pathlib.Path(outfile).exists():
        raise FileExistsError(f"{outfile} exists already. Remove it, or give another --outfile.")
    path = pathlib.Path(path)
    path = path / "certified.tsv" if path.is_dir() else path
    found = reading.read(path)
    for record in found:
        _check(record, path)
    if not found:
        raise ValueError(f"{path} holds no certified image yet.")
    common = reading.settings_of(found[0])
    common.setdefault("against", "half")
    alpha = float(common["alpha"]) if alpha is None else alpha
    against = common["against"] if against is None else against
    # So that nobody takes the file for one to go on with.
    origin = {
        f"recertified_from_{name}": common.get(f"recertified_from_{name}", common[name])
        for name in ("alpha", "against")
    }
    settings = {**common, "alpha": alpha, "against": against, **origin}
    with Journal(outfile, settings, reading.RESULTS) as file:
        for record in found:
            extra = record.extra
            if reading.settings_of(record) != reading.settings_of(found[0]):
                raise ValueError(f"{path} mixes rows of different settings.")
            n0, n, _ = checked_certification_settings(
                int(extra["n0"]), int(extra["n"]), alpha, against
            )
            label, radius, p_lower = recertified(
                *reading.votes_of(record),
                n,
                alpha,
                float(extra["sigma"]),
                float(extra["lipschitz"]),
                float(extra.get("radius_loss", 0.0)),
                against,
            )
            results = {"clean": "-", **extra, "p_lower": repr(p_lower), "samples": n0 + n}
            file.append(record.idx, record.label, label, radius, record.seconds, results)


def _check(record, path):
    missing = {"n0", "n", "alpha", "sigma", "lipschitz", "selection_counts", "counts"} - set(
        record.extra
    )
    if missing:
        raise ValueError(
            f"{path} does not hold the votes that new certificates need; it has no column "
            f"{', '.join(sorted(missing))}."
        )
    if record.extra.get("method", "fixed") != "fixed":
        raise ValueError(
            f"{path} holds votes of sequential tests, whose number depends on the alpha at which "
            "they were taken. Certify again, or use --method=fixed."
        )
    check_record(record, path)


def main(argv):
    """Certifies again."""
    if len(argv) != 2:
        raise ValueError("Give one file of certificates.")
    flag = flags.FLAGS
    # What is not asked for stays as it was, whatever the flags' defaults.
    alpha, against = (flag[name].value if flag[name].present else None for name in _CHANGED)
    if alpha is None and against is None:
        raise ValueError("Say what is to be another: --alpha, --against, or both.")
    recertify_file(argv[1], flag.outfile, alpha, against)
    print(f"Wrote {flag.outfile}. Next: python -m experiments.report {flag.outfile}")


if __name__ == "__main__":
    flags.mark_flag_as_required("outfile")
    command_line.run(main)
