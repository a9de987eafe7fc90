"""What a sweep came to, as a pandas frame: of each detector and ratio the methods by their gain.

kdbench sweep --methods kd,fitnet --ratios 4,16 --seeds 3
python sweep_to_pandas.py results
"""

import sys

import kdbench

rows = kdbench.read_leaderboard(sys.argv[1])
students = rows[rows["role"] == "student"]
columns = ["label", "bev_map", "bev_gain", "bev_gain_low", "bev_gain_high"]
for (detector, ratio), table in students.groupby(["detector", "ratio"]):
    print(f"{detector} at ratio {ratio:g}")
    print(table.sort_values("bev_map", ascending=False)[columns].round(1).to_string(index=False))
