"""Files that people write: what a parser would lose or make up is refused in one line."""

import pytest

from kdbench.errors import UsageError
from kdbench.storage.reading import parse_yaml, read_json, read_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' is given twice"),
        ("t:\n  lr: 1\n  lr: 2\n", "line 3: 'lr' is given twice"),
        ("m:\n- {name: kd, 'name': at}\n", "line 2: 'name' is given twice"),
        ("a: &x [*x]\n", "contains itself"),
        ("a: !!python/object:x.Y {}\n", "could not determine a constructor"),
        ("a: !!set {b}\n", "could not determine a constructor"),
        ("a: !!binary aGk=\n", "could not determine a constructor"),
        ("? [a]\n: 1\n", "unhashable key"),
        ("a: [1\n", "line 2: "),
        ("a: \x00\n", "special characters are not allowed"),
        ("- 1\n", "expected `key: value` lines"),
        ("", "expected `key: value` lines"),
    ],
)
def test_yaml_that_is_doubtful_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        read_yaml(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_yaml_with_a_byte_order_mark_anchors_and_dates(tmp_path):
    path = tmp_path / "f.yaml"
    text = "a: &x {lr: 1, b: 2}\nb: {<<: *x, lr: 3}\nc: *x\nd: 2024-13-45\n"
    path.write_text(text, encoding="utf-8-sig")
    assert read_yaml(path) == {
        "a": {"lr": 1, "b": 2}, "b": {"lr": 3, "b": 2}, "c": {"lr": 1, "b": 2}, "d": "2024-13-45",
    }  # fmt: skip


@pytest.mark.parametrize("encoding", ["gb2312", "utf-16", "latin-1"])
def test_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "f.yaml"
    remark = "é" if encoding == "latin-1" else "学习率"
    path.write_bytes(f"a: 1  # {remark}\n".encode(encoding))
    with pytest.raises(UsageError, match="f.yaml: not in UTF-8"):
        read_yaml(path)


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "NaN is not a number of JSON"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is given twice"),
        ("{", "not valid JSON"),
        pytest.param("[" * 100_000, "not valid JSON", id="deep"),
    ],
)
def test_json_that_is_doubtful_is_refused(tmp_path, text, message):
    path = tmp_path / "f.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_json(path)


def test_a_value_of_the_command_line_is_read_as_in_a_file():
    assert parse_yaml("[1, 2]", "--set x") == [1, 2]
    with pytest.raises(UsageError, match="--set x: not valid YAML"):
        parse_yaml("{a: 1, a: 2}", "--set x")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_number_in_json_is_finite(tmp_path, number):
    path = tmp_path / "f.json"
    path.write_text(f"[{number}]")
    with pytest.raises(UsageError, match="not valid JSON"):
        read_json(path)
