"""Rulebooks against loops over all sites and offsets."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.ops import sparse_rules
from kdbench.ops.sparse_rules import output_shape, site_keys, strided_rules, submanifold_rules

SHAPE = (4, 5, 6)
FRAMES = 2
CUBE = list(product(range(3), repeat=3))

sites_of_a_batch = st.sets(
    st.tuples(*(st.integers(0, n - 1) for n in (FRAMES, *SHAPE))), max_size=60
).map(lambda sites: torch.tensor(sorted(sites), dtype=torch.long).reshape(-1, 4))

sizes_of_a_convolution = st.tuples(
    *(st.tuples(*(st.integers(least, most) for _ in SHAPE)) for least, most in ((1, 3), (1, 2)))
).flatmap(
    lambda sizes: st.tuples(
        st.just(sizes[0]), st.just(sizes[1]), st.tuples(*(st.integers(0, k // 2) for k in sizes[0]))
    )
)


def pairs_of(rules):
    """(offset, input row, output row) of every listed pair."""
    offsets = torch.repeat_interleave(torch.arange(len(rules.counts)), torch.tensor(rules.counts))
    return list(zip(offsets.tolist(), rules.inputs.tolist(), rules.outputs.tolist(), strict=True))


def submanifold_pairs(sites):
    row = {tuple(site): i for i, site in enumerate(sites.tolist())}
    return [
        (offset, row[near], output)
        for offset, step in enumerate(CUBE)
        for (frame, *cell), output in row.items()
        if (near := (frame, *(c + s - 1 for c, s in zip(cell, step, strict=True)))) in row
    ]


def strided_pairs(sites, kernel, stride, padding):
    """Pairs with the output's cell in place of its row."""
    out, found = output_shape(SHAPE, kernel, stride, padding), []
    for offset, step in enumerate(product(*map(range, kernel))):
        for row, (frame, *cell) in enumerate(sites.tolist()):
            # Output cell o meets the cell at `step` when cell = o * stride - padding + step.
            axes = zip(cell, padding, step, stride, strict=True)
            reached = [divmod(c + p - s, k) for c, p, s, k in axes]
            if all(rest == 0 and 0 <= o < n for (o, rest), n in zip(reached, out, strict=True)):
                found.append((offset, row, (frame, *(o for o, _ in reached))))
    return found


def assert_pieces_are_the_pairs(rules):
    pieces = [
        (offset, i, o)
        for offset, inputs, outputs in rules.pieces
        for i, o in zip(inputs.tolist(), outputs.tolist(), strict=True)
    ]
    assert sorted(pieces) == sorted(pairs_of(rules))


@given(sites_of_a_batch)
def test_submanifold_rules_equal_a_loop(sites):
    rules = submanifold_rules(sites, SHAPE)
    expected = submanifold_pairs(sites)
    assert rules.identity == 13
    assert pairs_of(rules) == sorted(pair for pair in expected if pair[0] != 13)
    assert rules.pairs == len(expected)
    assert rules.rows == len(sites)


@given(sites_of_a_batch, sizes_of_a_convolution)
def test_strided_rules_equal_a_loop(sites, sizes):
    rules, out_sites, shape = strided_rules(sites, SHAPE, *sizes)
    expected = strided_pairs(sites, *sizes)
    cells = [tuple(site) for site in out_sites.tolist()]
    assert shape == output_shape(SHAPE, *sizes)
    assert cells == sorted({cell for *_, cell in expected})
    assert [(offset, i, cells[o]) for offset, i, o in pairs_of(rules)] == expected
    assert rules.pairs == len(expected)
    assert rules.rows == len(cells)


@pytest.mark.parametrize("block", [1, 3, 8192])
@given(sites=sites_of_a_batch)
def test_pieces_are_all_pairs_block_by_block(block, sites):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse_rules, "BLOCK", block)
        strided, _, _ = strided_rules(sites, SHAPE, (3, 3, 3), (2, 2, 2), (1, 1, 1))
        for rules in (submanifold_rules(sites, SHAPE), strided):
            assert_pieces_are_the_pairs(rules)
            blocks = [(outputs // block).unique().tolist() for _, _, outputs in rules.pieces]
            assert all(len(block) == 1 for block in blocks)
            assert blocks == sorted(blocks)


def test_neighbours_do_not_wrap_around_the_border():
    """Cells at the end of one row, plane or frame and at the start of the next are apart."""
    depth, height, width = SHAPE
    corners = [(f, z, y, x) for f in (0, 1) for z in (0, 3) for y in (0, 4) for x in (0, 5)]
    assert submanifold_rules(torch.tensor(corners), (depth, height, width)).pairs == len(corners)


def test_keys_are_in_the_order_of_sites():
    sites = torch.tensor(list(product(range(2), *map(range, SHAPE))))
    assert site_keys(sites, SHAPE).tolist() == list(range(2 * 4 * 5 * 6))
