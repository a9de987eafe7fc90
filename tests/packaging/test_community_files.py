"""The files for whoever cites, reports or contributes: whole, of this version, and true."""

import re
from pathlib import Path

import pytest
import yaml

import kdbench
from kdbench.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def test_the_citation_is_of_this_version_and_its_authors():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == kdbench.__version__
    assert citation["license"] in (ROOT / "LICENSE").read_text().splitlines()[0]
    assert f"(c) 2026 {citation['authors'][0]['name']}" in (ROOT / "LICENSE").read_text()
    assert f"## {kdbench.__version__}, {citation['date-released']}" in changes()


def changes() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_what_the_site_asks_for(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in ("input", "textarea", "checkboxes", "dropdown", "markdown")
        assert field["attributes"]["label"]


def test_a_method_is_asked_for_its_claim_its_records_and_its_licence():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/method.yml").read_text())
    required = {f["id"] for f in form["body"] if f.get("validations", {}).get("required")}
    assert {"claim", "records", "formula"} <= required
    (licence,) = (f for f in form["body"] if f["id"] == "licence")
    assert all(option["required"] for option in licence["attributes"]["options"])


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_they_name_is_there(name):
    text = (ROOT / name).read_text()
    for command in re.findall(r"`kdbench ([a-z-]+)", text):
        assert command in COMMANDS, command
    for path in re.findall(r"`((?:kdbench|methods|results|docs|tests)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
    targets = re.findall(r"make (\w+)", text)
    assert set(targets) <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
