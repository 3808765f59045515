"""WHAT NEXT: the coach, designed studies, searches and the race between runs. Decides and never trains; no torch."""
