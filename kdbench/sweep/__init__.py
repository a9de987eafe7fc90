"""Many runs: which ones, in which order, on which machines."""
