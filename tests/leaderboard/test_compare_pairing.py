"""Which runs of two sides are paired, and why others cannot be compared."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.leaderboard import pairing
from kdbench.leaderboard.changes import Limits
from kdbench.leaderboard.compare import compare
from kdbench.leaderboard.pairing import (
    CannotCompare,
    Pair,
    Run,
    incomparable,
    pair_runs,
    read_side,
    why_apart,
)
from kdbench.runs.records import SCHEMA, differences, write_record
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec

SPEC = build_spec(method="kd", ratio=4)


def record(spec=SPEC, bev=40.0, **metrics) -> dict:
    ap = {m: {"R40": [0, bev, 0]} for m in ("bev", "3d")}
    return {
        "schema": SCHEMA,
        "hash": spec.hash,
        "spec": spec.to_dict(),
        "metrics": {"bev_map": bev, "3d_map": bev, "kitti": {"car": ap}, "frames": 9} | metrics,
        "cost": {"parameters": 1000, "macs": 10**6},
        "latency": {"p50": 10.0, "contention": 0.0},
        "training": {},
        "environment": {},
    }


def run(spec=SPEC, **metrics) -> Run:
    return pairing.read_run(record(spec, **metrics), Path("results"))


def with_part(part: str, spec=SPEC, **values) -> RunSpec:
    """The spec with other values in one of its parts."""
    return replace(spec, **{part: replace(getattr(spec, part), **values)})


ELSEWHERE = {
    "dataset": with_part("dataset", name="kitti"),
    "fingerprint": with_part("dataset", fingerprint="other"),
    "detector": with_part("detector", name="second"),
    "ratio": with_part("detector", ratio=16.0),
    "method": with_part("method", name="at", options={}),
    "option": with_part("method", options=SPEC.method.options | {"weight": 2.0}),
    "scale": with_part("method", scale=0.5),
    "profile": replace(SPEC, profile="standard"),
    "seed": replace(SPEC, seed=1),
    "device": replace(SPEC, device="cuda"),
}
SCHEDULE = with_part("train", steps=700)
NETWORK = with_part("detector", options=SPEC.detector.options | {"pillar_size": 0.2})


def test_runs_of_one_spec_are_a_pair():
    base, new = run(), run()
    assert pair_runs([base], [new]) == ([Pair(base, new)], [], [])


@pytest.mark.parametrize("other", ELSEWHERE.values(), ids=ELSEWHERE)
def test_runs_of_other_cells_or_seeds_are_no_pair(other):
    base, new = run(), run(other)
    assert pair_runs([base], [new]) == ([], [base], [new])


@pytest.mark.parametrize("other", [SCHEDULE, NETWORK], ids=["schedule", "network"])
def test_another_schedule_or_network_is_a_pair_where_it_is_the_only_one(other):
    base, new = run(), run(other)
    assert pair_runs([base], [new]) == ([Pair(base, new)], [], [])
    third = run(with_part("train", steps=800))
    assert pair_runs([base], [new, third]) == ([], [base], [new, third])
    same = run()
    assert pair_runs([base], [new, same]) == ([Pair(base, same)], [], [new])


def test_an_option_newer_than_the_record_counts_at_its_default():
    options = {k: v for k, v in SPEC.method.options.items() if k != "weight"}
    base, new = run(with_part("method", options=options)), run()
    assert base.hash != new.hash
    assert pair_runs([base], [new])[0] == [Pair(base, new)]


def test_a_method_that_is_no_more_is_still_paired():
    gone = with_part("method", name="gone", options={"power": 2})
    base, new = run(gone), run(with_part("train", gone, steps=700))
    assert pair_runs([base], [new])[0] == [Pair(base, new)]


RUNS = [run(spec) for spec in (SPEC, SCHEDULE, NETWORK, *ELSEWHERE.values())]
SIDES = st.lists(st.sampled_from(RUNS).map(replace), max_size=6)  # copies, each its own run


@given(SIDES, SIDES)
def test_no_run_is_lost_or_paired_twice_and_order_does_not_matter(base, new):
    pairs, *alone = pair_runs(base, new)
    for side, runs, rest in (("base", base, alone[0]), ("new", new, alone[1])):
        paired = [id(getattr(pair, side)) for pair in pairs]
        assert sorted(paired + [id(r) for r in rest]) == sorted(map(id, runs))
    again, *_ = pair_runs(base[::-1], new[::-1])
    ids = [{(id(p.base), id(p.new)) for p in found} for found in (pairs, again)]
    assert ids[0] == ids[1]
    assert all(p.base.spec.seed == p.new.spec.seed for p in pairs)


def test_pairing_looks_at_each_run_a_few_times_however_many_there_are(monkeypatch):
    looks = 0

    def counted(key):
        def look(of):
            nonlocal looks
            looks += 1
            return key(of)

        return look

    for name in ("same_spec", "same_cell"):
        monkeypatch.setattr(pairing, name, counted(getattr(pairing, name)))
    of_spec = [replace(SPEC, seed=seed) for seed in range(500)]
    other = [with_part("train", spec, steps=700) for spec in of_spec[250:]]
    base = [run(spec) for spec in of_spec]
    new = [run(spec) for spec in of_spec[:250] + other]
    random.Random(0).shuffle(new)
    pairs, *alone = pair_runs(base, new)
    assert len(pairs) == 500 and alone == [[], []]
    assert all(p.base.spec.seed == p.new.spec.seed for p in pairs)
    assert looks <= 2 * (len(base) + len(new))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (run(replace(SPEC, device="cuda")), "device cpu against cuda"),
        (run(replace(SPEC, profile="standard")), "profile quick against standard"),
        (run(with_part("dataset", name="kitti")), "data set synthetic against kitti"),
        (run(with_part("dataset", fingerprint="f1")), "data set fingerprint  against f1"),
        (run(frames=8), "number of frames 9 against 8"),
        (run(point_range=[0, 1]), "range judged None against [0, 1]"),
        (run(ELSEWHERE["method"]), None),
        (run(ELSEWHERE["seed"]), None),
    ],
)
def test_why_two_runs_cannot_be_compared(other, reason):
    assert incomparable(Pair(run(), other)) == reason


def test_why_two_folders_have_nothing_in_common():
    base = [run(), run(ELSEWHERE["seed"])]
    assert why_apart(base, [run(ELSEWHERE["device"])]) == "device cpu against cuda"
    assert why_apart(base, [run(replace(SPEC, seed=7))]) == "seed 0, 1 against 7"
    assert why_apart(base, base) is None


def test_differences_of_nested_settings():
    base, new = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4, "e": 5}}
    assert differences(base, new) == ["b.c 2 -> 4", "b.d 3 -> None", "b.e None -> 5"]
    assert differences(base, base) == []


# From files.


def sides(tmp_path, base, new) -> tuple[Path, Path]:
    for side, records in (("base", base), ("new", new)):
        for made in records:
            write_record(tmp_path / side, made)
    return tmp_path / "base", tmp_path / "new"


def test_folders_tell_what_is_left_out(tmp_path):
    seeds = [replace(SPEC, seed=seed) for seed in range(3)]
    base = [record(seeds[0]), record(seeds[1]), record(ELSEWHERE["scale"])]
    new = [record(seeds[0]), record(seeds[1], frames=8), record(ELSEWHERE["ratio"])]
    found = compare(*sides(tmp_path, base, new), Limits())
    assert [cell.seeds for cell in found.cells] == [(0,)]
    assert found.notes == (
        "1 run (kd pointpillars-x4 seed 0) of BASE without a partner",
        "1 run (kd pointpillars-x16 seed 0) of NEW without a partner",
        "left out: 1 run (kd pointpillars-x4 seed 1): number of frames 9 against 8",
    )


def test_two_files_are_a_pair_though_their_methods_differ(tmp_path):
    base = write_record(tmp_path, record())
    new = write_record(tmp_path, record(ELSEWHERE["option"], bev=41.0))
    (cell,) = compare(base, new, Limits()).cells
    assert "specs differ: method.options.weight 1.0 -> 2.0" in cell.notes
    other = write_record(tmp_path, record(ELSEWHERE["device"]))
    with pytest.raises(CannotCompare, match="cannot compare .*: device cpu against cuda"):
        compare(base, other, Limits())


def test_a_file_finds_its_partner_in_a_folder(tmp_path):
    base, new = sides(tmp_path, [record()], [record(), record(ELSEWHERE["ratio"])])
    (cell,) = compare(base / SPEC.record_path, new, Limits()).cells
    assert cell.hashes == ((SPEC.hash, SPEC.hash),)


def test_folders_without_a_run_in_common(tmp_path):
    base, new = sides(tmp_path, [record()], [record(ELSEWHERE["device"])])
    with pytest.raises(CannotCompare, match="no run in common: device cpu against cuda"):
        compare(base, new, Limits())


def damaged(**changes) -> str:
    return json.dumps(record() | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a record, damaged JSON"),
        ("[]", "record schema None"),
        (damaged(schema=99), "record schema 99"),
        (damaged(latency={}), "lacks what is compared .*p50"),
        (damaged(spec={"color": "red"}), "its spec cannot be read .*color"),
        (damaged(metrics={"bev_map": 1.0}), "lacks what is compared .*3d_map"),
        (damaged(latency={"p50": 0.0}), "a figure that is no number"),
        (damaged(cost={"parameters": 1, "macs": float("nan")}), "a figure that is no number"),
    ],
)
def test_records_that_cannot_be_read_are_named(tmp_path, text, message):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(CannotCompare, match=f"record.json: .*{message}"):
        read_side(path)


def test_sides_that_are_not_there_or_empty(tmp_path):
    with pytest.raises(CannotCompare, match="absent: no such folder"):
        read_side(tmp_path / "absent")
    with pytest.raises(CannotCompare, match="no records in it"):
        read_side(tmp_path)
