"""Tables of classes: what they may say, what label files then mean, and sizes from the labels."""

import re
from pathlib import Path

import numpy as np
import pytest

from kdbench.class_table import parse_table, table_of
from kdbench.classes import KITTI, ObjectClass, described, renamed
from kdbench.datasets.kitti import Kitti
from kdbench.errors import DataError, UsageError
from kdbench.geometry import kitti_labels
from kdbench.runs.settings import build_spec, read_config
from kdbench.training.data import build_dataset, of_frames

ROW = " 0 0 0 500 150 700 220 1.5 1.6 4 0 0.75 10 0\n"
SIZES = {"forklift-loaded": (2.4, 1.2, 2.0), "PALLET": (1.2, 0.8, 1.0), "Worker": (0.6, 0.6, 1.8)}
TABLE = {"Forklift": {"labels": ["forklift_loaded"]}, "Pallet": {"size": [1, 2, 3]}}


def test_all_settings_of_a_table():
    settings = {"labels": ["b", "A", "forklift"], "size": [2.4, 1, 2], "bottom": -1, "overlap": 0.3}
    settings["neighbour"] = "pallet"
    classes = parse_table({"pallet": None, "Forklift": settings})
    forklift = ObjectClass("Forklift", (2.4, 1.0, 2.0), -1.0, 0.3, "pallet", ("A", "b"))
    assert classes == (forklift, ObjectClass("pallet"))
    assert parse_table(table_of(classes)) == classes


def test_classes_stand_in_alphabetical_order_and_keep_kittis_overlaps():
    found = parse_table({"Pedestrian": None, "Tram": {}, "Car": {}})
    assert [(kind.name, kind.overlap) for kind in found] == [
        ("Car", 0.7), ("Pedestrian", 0.5), ("Tram", 0.5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "expected a table"),
        (["Forklift"], "expected a table of class names and settings"),
        ({f"A{i}": {} for i in range(11)}, "11 classes; there may be up to 10"),
        ({"Cart": 0.5}, "Cart: expected settings such as"),
        ({"Cart": {"sise": [1, 1, 1]}}, "Cart: no setting 'sise' of a class; there are: labels, "),
        ({"Cart": {"size": [1, 2]}}, r"Cart: size must be length, width, height .*, not \[1, 2\]"),
        ({"Cart": {"size": [1, 2, 0]}}, "above 0 in metres"),
        ({"Cart": {"size": [1, 2, "a"]}}, "Cart: size must be"),
        ({"Cart": {"bottom": "low"}}, "Cart: bottom must be a number in metres, not 'low'"),
        ({"Cart": {"overlap": 1}}, "Cart: overlap must be a number between 0 and 1, not 1"),
        ({"Cart": {"overlap": True}}, "overlap must be a number"),
        ({"Cart": {"labels": "cart"}}, "labels must be a list of names in label files, not 'cart'"),
        ({"Cart": {"labels": [1]}}, "labels must be a list of names"),
        ({"Cart": {"labels": ["Dont_Care"]}}, "labels must be a list of names"),
        ({"A": {"labels": ["x"]}, "B": {"labels": ["X"]}}, "'X' is a label of both A and B"),
        ({"A": {"labels": ["b"]}, "B": {}}, "'B' is a label of both A and B"),
        ({"Cart": {}, "cart": {}}, "'cart' is a label of both Cart and cart"),
        ({"Cart": {"neighbour": 3}}, "neighbour must be the name of a class, not 3"),
        ({"Cart": {"neighbour": "hand cart"}}, "neighbour must be the name of a class"),
        ({"Cart": {"neighbour": "cart"}}, "neighbour must be another class, not Cart too"),
        ({"A": {"labels": ["x"]}, "B": {"neighbour": "x"}}, "'x' is no class but .*: say 'A'"),
        ({"fork lift": {}}, "a class is named by letters, digits, _ and -"),
        ({7: {}}, "a class is named by letters, .*, not 7"),
        ({"Mean": {}}, "Mean: the name has a meaning of its own"),
        ({"DontCare": {}}, "has a meaning of its own"),
    ],
)
def test_each_mistake_has_one_line(table, message):
    with pytest.raises(UsageError, match=f"^dataset.classes: .*{message}") as error:
        parse_table(table)
    assert "\n" not in str(error.value)


def test_names_count_as_classes_without_regard_to_case_and_signs():
    kinds = parse_table(
        {"Forklift": {"labels": ["stacker"], "neighbour": "Hand_truck"}, "tram": {}}
    )
    text = "".join(f"{n}{ROW}" for n in ("fork-LIFT", "Stacker", "handtruck", "TRAM", "Misc"))
    found = renamed(kitti_labels.parse(text), kinds)
    assert found.names.tolist() == ["Forklift", "Forklift", "Hand_truck", "tram", "Misc"]
    assert len(renamed(kitti_labels.empty(), kinds)) == 0


def test_a_name_alone_is_kittis_class():
    assert described(("car", "Pedestrian", "Cyclist")) == KITTI
    assert Kitti.kinds_of({}) == KITTI
    with pytest.raises(UsageError, match="no KITTI class 'Tram'"):
        described(("Tram",))


def test_a_tree_with_a_table(make_tree):
    root = make_tree([*SIZES, "PALLET"], SIZES)
    data = Kitti(root=root, classes=TABLE)
    data.preflight()
    assert data.verify() == []
    assert data.classes == ("Forklift", "Pallet")
    assert data.frame("000001").labels.tolist() == [0, 1, 1]
    assert data.objects("000001").names.tolist() == [
        "Forklift", "Pallet", "Worker", "Pallet", "DontCare"
    ]  # fmt: skip
    assert set(data.database.labels) == {0, 1}
    found = data.training_frame("000001", np.random.default_rng(0))
    assert np.bincount(found.labels).min() > 1  # pasted ones among them


def test_open_sizes_are_means_over_the_training_labels(make_tree):
    root = make_tree(list(SIZES), SIZES)
    for path in (root / "training/label_2").iterdir():  # of val frames, which do not count
        if path.stem in ("000002", "000003"):
            path.write_text("Pallet" + ROW)
    spec = build_spec(dataset="kitti", overrides={"dataset.classes": TABLE})
    told = of_frames(spec, build_dataset(spec, str(root)))
    table = told.dataset.options["classes"]
    assert table["Forklift"]["size"] == [2.4, 1.2, 2.0]
    assert table["Forklift"]["bottom"] == -2.0  # centres at -1
    assert table["Pallet"] == {
        "labels": [], "size": [1.0, 2.0, 3.0], "bottom": -1.5, "overlap": 0.5, "neighbour": None
    }  # fmt: skip
    again = of_frames(told, build_dataset(told, str(root)))
    assert again.hash == told.hash != spec.hash


def test_a_class_that_nobody_labelled_needs_a_size(make_tree):
    data = Kitti(root=make_tree(list(SIZES), SIZES), classes={"Worker": None, "Tram": None})
    with pytest.raises(DataError, match="Tram: no training label of it, to take its mean size"):
        data.recorded_options()


def test_no_table_is_the_run_that_it_was(kitti_tree):
    spec = build_spec(dataset="kitti")
    assert "classes" not in spec.to_dict()["dataset"]["options"]
    told = of_frames(spec, build_dataset(spec, str(kitti_tree)))
    assert told.dataset.options == spec.dataset.options


def test_what_counts_as_what_is_part_of_the_fingerprint_and_sizes_are_not(make_tree):
    root = make_tree(list(SIZES), SIZES)
    tables = [
        None, {"Pallet": {}}, {"Pallet": {"overlap": 0.3}}, {"Pallet": {"labels": ["Worker"]}},
        {"Pallet": {"neighbour": "Worker"}},
    ]  # fmt: skip
    assert len({Kitti(root=root, classes=table).fingerprint() for table in tables}) == 5
    sized = Kitti(root=root, classes={"Pallet": {"size": [1, 1, 1]}})
    assert sized.fingerprint() == Kitti(root=root, classes=tables[1]).fingerprint()


def test_foreign_names_are_told_of_the_table(make_tree):
    data = Kitti(root=make_tree(["Worker"], SIZES))
    with pytest.raises(DataError, match=r"--set 'dataset.classes=\{Worker: \{\}\}'"):
        data.preflight()


def test_the_example_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[1] / "docs/data.md").read_text()
    (tmp_path / "hall.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    config = read_config(tmp_path / "hall.yaml")
    method = config.pop("method")
    spec = build_spec(dataset="kitti", method=method, overrides=config)
    classes = Kitti.kinds_of(spec.dataset.options)
    assert [kind.name for kind in classes] == ["Cart", "Forklift", "Pallet", "Worker"]
    assert classes[1].size == (2.4, 1.2, 2.1) and classes[2].neighbour == "Crate"
