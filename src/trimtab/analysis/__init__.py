"""WHAT IT MEANS: statistics, verdicts and comparisons. Pure functions over stored numbers; no torch, no store."""
