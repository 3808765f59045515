"""WHAT IS LEARNED FROM WHAT: one file says how examples become batches, what the loss, the metric and the card are.

task.py is the seam; language.py and chat.py are the one task so far. Everything else asks a task, and knows none.
"""
