"""The README and the pages under docs: code runs, what is named exists, links lead somewhere."""

import functools
import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

_CODE = re.compile(
    r"^<!-- set-up\n(?P<hidden>.*?)^-->$"
    r"|^(?P<mark><!-- not run -->\n)?```python[^\n]*\n(?P<shown>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_COMMAND = re.compile(r"python -m (experiments[\w.]*)([^\n`]*)")
# absl's own.
_FLAGS_OF_ALL = {"flagfile", "helpfull"}
_DEFINED_FLAGS = """
import json, sys
from docs.write_commands import defined_flags, page
names = {name: [flag.name for flag in defined_flags(name)[1]] for name in sys.argv[1:]}
print(json.dumps({"names": names, "page": page()}))
"""


def _name(page):
    return str(page.relative_to(ROOT))


def _blocks(page):
    """Yields (code, whether it is to be run); lines have their numbers in the page."""
    text = page.read_text()
    for match in _CODE.finditer(text):
        group = "shown" if match["hidden"] is None else "hidden"
        lines_before = text.count("\n", 0, match.start(group))
        yield "\n" * lines_before + match[group], match["mark"] is None


def _has_code_to_run(page):
    return any(run for _, run in _blocks(page))


def _commands():
    """Yields (page, module, arguments) of every command of this project."""
    for page in PAGES:
        # Lines that are continued.
        for module, arguments in _COMMAND.findall(re.sub(r"\\\n\s*", "", page.read_text())):
            # What follows -- belongs to Apache Beam.
            yield _name(page), module, arguments.split("#")[0].split(" -- ")[0]


@functools.cache
def _defined():
    """Returns what the commands define, from a process of its own: flags are global."""
    modules = sorted({module for _, module, _ in _commands()})
    ended = subprocess.run(
        [sys.executable, "-c", _DEFINED_FLAGS, *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("page", filter(_has_code_to_run, PAGES), ids=_name)
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for code, run in _blocks(page):
        if run:
            exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_code_that_is_not_run_is_python(page):
    for code, _ in _blocks(page):
        compile(code, str(page), "exec")


def test_commands_and_their_flags_exist():
    commands = list(_commands())
    assert len(commands) > 10
    for page, module, arguments in commands:
        for flag in re.findall(r"--(\w+)", arguments):
            assert flag in {*_defined()["names"][module], *_FLAGS_OF_ALL}, (page, module, flag)


def test_flag_files_exist():
    packaged = {path.name for path in (ROOT / "experiments" / "flags").iterdir()}
    for page, _, arguments in _commands():
        assert {*re.findall(r"--flagfile=(\S+)", arguments)} <= packaged, page


def test_page_of_flag_files_names_and_shows_all_of_them():
    text = (DOCS / "reference" / "flag-files.md").read_text()
    for path in (ROOT / "experiments" / "flags").iterdir():
        assert f"[`{path.name}`]" in text
        assert f'--8<-- "experiments/flags/{path.name}"' in text


def test_page_of_commands_is_up_to_date():
    written = (DOCS / "reference" / "commands.md").read_text()
    assert written == _defined()["page"], "Run `python -m docs.write_commands`."


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_to_files(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path = target.split("#")[0]
        if path and not re.match(r"[a-z]+:", path):
            assert (page.parent / path).is_file(), target


def test_all_pages_are_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in DOCS.rglob("*.md"):
        assert f" {page.relative_to(DOCS)}\n" in navigation


def test_page_of_troubles_quotes_messages_as_they_are():
    sources = [
        path.read_text()
        for folder in ("lsrs_tf", "experiments", "export")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    # Messages are written in pieces.
    text = re.sub(r'"\n\s*f?"', "", "\n".join(sources))
    headings = re.findall(r"^### (.*)$", (DOCS / "how-to" / "troubleshoot.md").read_text(), re.M)
    quoted = [quote for heading in headings for quote in re.findall(r"`([^`]+)`", heading)]
    names = {"lsrs_tf>LatentSmoothingModel", "samples"}
    assert len(quoted) > 10
    for quote in {*quoted} - names:
        assert quote in text, quote


def test_all_columns_of_certification_files_are_described():
    from lsrs_tf.records import schema

    text = (DOCS / "how-to" / "files.md").read_text()
    for column in schema.COLUMNS:
        assert re.search(rf"^\|[^|]*`{column.name}`", text, re.MULTILINE), column.name


def test_formulas_are_written_as_mathml():
    from docs import formulas

    page = (
        '<p>Let <span class="arithmatex">\\(p &lt; 1\\)</span></p>'
        '<div class="arithmatex">\\[\n\\frac{\\sigma}{L}\n\\]</div> <code>\\(x\\)</code>'
    )
    written = formulas.on_page_content(page)
    assert '<span class="arithmatex"><math' in written and "<mi>p</mi>" in written
    assert 'display="block"' in written and "<mfrac>" in written
    assert "&amp;" not in written and "frac{" not in written
    assert written.count("<math") == 2 and written.endswith("</div> <code>\\(x\\)</code>")


def test_site_loads_nothing_from_elsewhere():
    configuration = (ROOT / "mkdocs.yml").read_text()
    assert not re.search(r"^ *- *https?:", configuration, re.MULTILINE)


def test_all_layers_and_activations_with_a_bound_are_named():
    from lsrs_tf import layers
    from lsrs_tf.lipschitz import registry
    from lsrs_tf.lipschitz.rules import activations, merges

    text = (DOCS / "how-to" / "own-encoder.md").read_text()
    known = [known for known in [*registry._RULES, *merges.MERGES] if "keras" in known.__module__]
    names = [*(known.__name__ for known in known), *activations.CONSTANTS]
    # Layers of frozen encoders are not put into an encoder by hand.
    frozen = {
        "PARAMETRIZATIONS",
        "FixedDense",
        "FixedResidualConv2D",
        "FixedResidualDense",
        "SpectralConv2D",
        "LipschitzConv2D",
        "LipschitzDense",
        "convolution",
    }
    names += [f"layers.{name}" for name in layers.__all__ if name not in frozen]
    assert len(names) > 60
    for name in names:
        assert f"`{name}`" in text, name


def test_readme_is_short_and_has_its_commands():
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 150
    for marker in ("digits", "tests"):
        (section,) = re.findall(rf"^<!-- {marker} -->\n(.*?)^<!-- end -->$", text, re.DOTALL | re.M)
        assert re.fullmatch(r"```sh\n.*\n```\n", section, re.DOTALL)


def test_words_are_the_usual_ones():
    unusual = re.compile(r"\b(beside|somebody|nobody|mend(s|ed|ing)?)\b|\bis no number", re.I)
    sources = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
    for folder in ("lsrs_tf", "export", "experiments", "docs"):
        sources += sorted((ROOT / folder).rglob("*.py"))
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sources
        for line in path.read_text().splitlines()
        if unusual.search(line)
    ]
    assert not found
