"""Configurations as Python text: what is plain is read, nothing is run."""

import pytest

from kdbench.errors import DataError
from kdbench.imports.text_config import read_text

TEXT = """
_base_ = './base.py'
model = dict(
    type='VoxelNet',
    voxel_layer=dict(max_num_points=5, point_cloud_range=[0, -40.0, -3, 70.4, 40, 1]),
    bbox_head=dict(rotations=(0, 1.57), hook=print('run'), nested=[dict(a=None, b=True)]))
class_names = ['Car']
"""
READ = {
    "_base_": "./base.py",
    "model": {
        "type": "VoxelNet",
        "voxel_layer": {"max_num_points": 5, "point_cloud_range": [0, -40.0, -3, 70.4, 40, 1]},
        "bbox_head": {"rotations": [0, 1.57], "hook": None, "nested": [{"a": None, "b": True}]},
    },
    "class_names": ["Car"],
}


def test_assignments_and_a_dictionary_are_read_alike(capsys):
    assert read_text(TEXT, "file") == READ
    assert read_text(repr(READ), "file") == READ
    assert capsys.readouterr().out == ""


def test_other_text_is_told():
    with pytest.raises(DataError, match="file: the configuration in it cannot be read"):
        read_text("model = dict(", "file")
