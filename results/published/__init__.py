"""Published runs: records and weights in the layout of a results folder, as package data."""
