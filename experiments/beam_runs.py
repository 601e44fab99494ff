"""Options and runs of pipelines of Apache Beam, with errors for people."""

import contextlib
import io
import itertools
import queue
import threading

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

# Their job servers know further options, and refuse what they do not know.
_WITH_OPTIONS_OF_THEIR_OWN = ("FlinkRunner", "PortableRunner", "SparkRunner")
# What Beam's DirectRunner says in a thread when a worker process has died; it then waits for ever.
_DIED = "Worker subprocess exited"


def checked_options(arguments):
    """Returns the options of a pipeline, or raises if Beam does not know one of them.

    Args:
        arguments: list of str, such as ['--runner=FlinkRunner'].

    Returns:
        `PipelineOptions`.

    Raises:
        ValueError: if an argument is not an option that Beam knows, or has an impossible value.
    """
    stray = [
        word
        for before, word in itertools.pairwise(["", *arguments])
        if not word.startswith("-") and (not before.startswith("-") or "=" in before)
    ]
    if stray:
        raise ValueError(
            f"Unexpected arguments for the pipeline: {' '.join(stray)}. Options of Beam begin with "
            "--."
        )
    options = PipelineOptions(arguments)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            known = options.get_all_options()
            given = options.get_all_options(retain_unknown_options=True)
    except SystemExit as error:
        lines = said.getvalue().strip().splitlines() or ["unknown"]
        raise ValueError(
            f"Beam refuses an option of the pipeline: {lines[-1].split('error: ')[-1]}."
        ) from error
    unknown = sorted({*given} - {*known})
    runner = str(known.get("runner") or "").rpartition(".")[-1]
    if unknown and runner not in _WITH_OPTIONS_OF_THEIR_OWN:
        raise ValueError(
            "Beam does not know these options of the pipeline: "
            f"{', '.join(f'--{name}' for name in unknown)}. Correct them; the options of this "
            "command go before the --."
        )
    workers = options.view_as(WorkerOptions)
    if workers.default_sdk_harness_log_level is None:
        # Workers say much of what they do otherwise.
        workers.default_sdk_harness_log_level = "WARNING"
    return options


def run(build, options):
    """Runs a pipeline to its end.

    Args:
        build: function of a `beam.Pipeline` that applies the transforms.
        options: `PipelineOptions`.

    Raises:
        OSError: if the pipeline fails, or a worker process of this machine dies.
        ValueError: if there is no such runner.
    """
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    ended = queue.SimpleQueue()

    def work():
        try:
            result = pipeline.run()
            ended.put(result.wait_until_finish() or result.state)
        except BaseException as error:
            ended.put(error)

    with _told_of_deaths(ended.put):
        # In a thread of its own, which nothing waits for when a worker has died.
        threading.Thread(target=work, daemon=True).start()
        state = ended.get()
    if isinstance(state, Exception):
        raise OSError(
            f"the pipeline has failed: {_cause(state)}. What was finished is kept; give the same "
            "command again to go on"
        ) from state
    if state != "DONE":
        raise OSError(
            f"the pipeline has ended in the state {state}. What was finished is kept; give the "
            "same command again to go on"
        )


@contextlib.contextmanager
def _told_of_deaths(tell):
    """Calls a function with the exception when a worker process of this machine has died."""
    before, died = threading.excepthook, threading.Event()

    def hook(arguments):
        if _DIED in str(arguments.exc_value):
            died.set()
            tell(arguments.exc_value)
        elif not died.is_set() and "RpcError" not in arguments.exc_type.__name__:
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _cause(error):
    """Returns what went wrong in one line; messages of workers end with it, after a traceback."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith((" ", "\t"))]
    cause = (lines or [""])[-1].rstrip(".")
    plain = isinstance(error, RuntimeError | ValueError | OSError)
    return cause if plain and cause else f"{type(error).__name__}: {cause}"
