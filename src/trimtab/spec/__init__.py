"""WHAT IS ASKED: recipes, budgets and the words for a run's state. Pure data; no torch, no files but YAML."""
