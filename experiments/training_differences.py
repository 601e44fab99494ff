"""What the trainings of runs differ in, where their certificates have the same settings."""

from experiments.run_directory import RunDirectory
from lsrs_tf.evaluation import markdown_table
from lsrs_tf.records.reading import IN_A_FOLDER
from lsrs_tf.records.summary import UNKNOWN


def differences_table(runs):
    """Returns a Markdown table of the settings of trainings that are not the same in all runs.

    It is empty where fewer than two of the files lie in the folder of their training, and one line
    where these were trained alike.

    Args:
        runs: list of `lsrs_tf.records.summary.Run`.
    """
    trainings = {run: settings for run in map(str, _folders(runs)) if (settings := _settings(run))}
    if len(trainings) < 2:
        return ""
    names = list(dict.fromkeys(name for settings in trainings.values() for name in settings))
    differing = [
        name
        for name in names
        if len({str(settings.get(name)) for settings in trainings.values()}) > 1
    ]
    if not differing:
        return f"{', '.join(trainings)} were trained with the same settings.\n"
    return markdown_table(
        ["run", *differing],
        [
            [run, *(_cell(settings.get(name)) for name in differing)]
            for run, settings in trainings.items()
        ],
    )


def _folders(runs):
    """Returns the folders that hold the runs' files as those of a training."""
    for run in runs:
        if run.path.is_dir():
            yield run.path
        elif run.path.name == IN_A_FOLDER:
            yield run.path.parent


def _settings(folder):
    try:
        return RunDirectory(folder).settings()
    except (OSError, ValueError):
        # Certificates can be reported without their training.
        return None


def _cell(value):
    return UNKNOWN if value is None else str(value)
