"""SHOWING IT in the terminal: thin commands over api.py, a live view, tables."""
