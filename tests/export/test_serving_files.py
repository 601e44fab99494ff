import re

from export.serving_files import write_serving_files


def test_files_name_the_model_and_what_the_server_knows(tmp_path):
    directory = tmp_path / "saved_model"
    directory.mkdir()
    write_serving_files(directory, "digits", xla=False)
    compose = (directory / "compose.yaml").read_text()
    assert "MODEL_NAME: digits" in compose
    assert "/models/digits:ro" in compose
    assert "$name" not in compose and "xla" not in compose
    for file in re.findall(r"/models/digits/(\S+)", compose):
        assert (directory / file).is_file()
    batching = (directory / "batching_parameters.txt").read_text()
    assert all(
        re.fullmatch(r"[a-z_]+ \{ value: (\d+|true) \}", line) for line in batching.splitlines()
    )
    assert "enable: true" in (directory / "monitoring.config").read_text()
