"""What `kdbench latency` prints."""

from kdbench.cli.measured import print_table


def show(result: dict) -> None:
    """The table of a result and the notes below it, on standard output."""
    measured, where = result["latency_ms"], result["environment"]
    fast = result.get("fused", {})
    columns = [measured, fast["latency_ms"]] if fast else [measured]
    rows = [(name, *(f"{c[name]:.2f}" for c in columns)) for name in ("p50", "p90", "p99", "mean")]
    rows += [
        (f"  {stage} p50", *(f"{c['stages'][stage]:.2f}" for c in columns))
        for stage in measured["stages"]
    ]
    print_table(
        f"{result['detector']}, {result['weights']} weights",
        ("", "plain, ms", f"{fast['options']}, ms") if fast else ("", "ms"),
        rows,
        *_fused_notes(fast),
        *_stage_notes(result),
        f"batch 1, {measured['count']} samples on {result['input']}; "
        f"{measured['detections']:.1f} boxes a frame",
        f"{where['device']}, {where['threads']} CPU threads",
    )


def _fused_notes(fast: dict) -> list[str]:
    """What the fast version gains, and what it changes."""
    if not fast:
        return []
    quick = fast["latency_ms"]
    notes = [
        f"{fast['options']}: {quick['ratio']:.2f} times as fast ({quick['ratio_cpu']:.2f} by "
        f"processor time), outputs within {quick['difference']:.1e}; ready after "
        f"{fast['first_frame_seconds']:.1f} s"
    ]
    if "map" in fast:
        plain, other = fast["map"]
        changes = [
            f"{label} mAP {plain[key]:.2f} {other[key] - plain[key]:+.2f}"
            for label, key in (("BEV", "bev_map"), ("3D", "3d_map"))
        ]
        notes.append(", ".join(changes))
    return notes


def _stage_notes(result: dict) -> list[str]:
    """Where the plain detector's time goes, and how near it is to the peak."""
    if "stages_ms" not in result:
        return []
    roof = result["roofline"]
    stages = ", ".join(f"{name} {ms:.2f}" for name, ms in result["stages_ms"].items())
    return [
        f"median ms: {stages}",
        f"{_billions(roof['macs_per_second'])} GMAC/s of the "
        f"{_billions(roof['peak_macs_per_second'])} a matrix product reaches here, at least "
        f"{_billions(roof['bytes_per_second'])} GB/s of the "
        f"{_billions(roof['peak_bytes_per_second'])} of a copy; {roof['by']} alone would take "
        f"{roof['bound']:.0%} of the time",
    ]


def _billions(value: float) -> str:
    return f"{value / 1e9:.1f}"
