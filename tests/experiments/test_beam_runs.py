import time

import pytest

beam = pytest.importorskip("apache_beam")

from apache_beam.options.pipeline_options import DirectOptions, WorkerOptions  # noqa: E402

from experiments import beam_runs  # noqa: E402


def test_options_of_beam_are_passed_through():
    options = beam_runs.checked_options(["--runner=DirectRunner", "--direct_num_workers", "3"])
    assert options.view_as(DirectOptions).direct_num_workers == 3
    assert options.view_as(WorkerOptions).default_sdk_harness_log_level == "WARNING"
    chosen = beam_runs.checked_options(["--default_sdk_harness_log_level=DEBUG"])
    assert chosen.view_as(WorkerOptions).default_sdk_harness_log_level == "DEBUG"
    # Job servers have options of their own.
    beam_runs.checked_options(["--runner=FlinkRunner", "--checkpointing_interval=5"])
    beam_runs.checked_options([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_workres=3"], "does not know these options.*--num_workres"),
        (["--runner=DirectRunner", "--seed", "3"], "options.*--seed. Correct.*before the --"),
        (["--direct_num_workers=abc"], "refuses an option.*invalid int value: 'abc'"),
        (["--direct_running_mode=often"], "refuses an option.*invalid choice: 'often'"),
        (["DirectRunner"], "Unexpected arguments for the pipeline: DirectRunner"),
        (["--runner=DirectRunner", "3"], "Unexpected arguments for the pipeline: 3"),
        (["--direct_num"], "does not know these options.*--direct_num"),
    ],
)
def test_what_beam_does_not_know_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        beam_runs.checked_options(arguments)


def test_unknown_runner_is_refused():
    with pytest.raises(ValueError, match="Unexpected pipeline runner: NoSuchRunner"):
        beam_runs.run(lambda pipeline: None, beam_runs.checked_options(["--runner=NoSuchRunner"]))


class _Fails(beam.DoFn):
    def process(self, element):
        raise ZeroDivisionError(f"of {element}")


def test_failure_of_a_pipeline_is_told_in_a_line():
    with pytest.raises(OSError, match=r"has failed: ZeroDivisionError: of 7.*What was finished"):
        beam_runs.run(
            lambda pipeline: pipeline | beam.Create([7]) | beam.ParDo(_Fails()),
            beam_runs.checked_options([]),
        )


class _Dies(beam.DoFn):
    def process(self, element):
        import os

        os._exit(9)


@pytest.mark.slow
def test_nothing_waits_for_a_worker_that_has_died():
    options = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    start = time.monotonic()
    with pytest.raises(OSError, match="Worker subprocess exited with return code 9"):
        beam_runs.run(
            lambda pipeline: pipeline | beam.Create([1, 2]) | beam.ParDo(_Dies()),
            beam_runs.checked_options(options),
        )
    assert time.monotonic() - start < 60
