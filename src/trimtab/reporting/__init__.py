"""SHOWING IT on paper: stored rows -> one self-contained HTML page, or the same as data."""
