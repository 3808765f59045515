"""WHAT IS LEARNED FROM WHAT: one file says how examples become batches, what the loss, the metric and the card are.

task.py is the seam. Chat is language.py (training), chat_meter.py (measuring) and chat.py; text classification
label_learning.py, label_meter.py and text_classification.py. Everything else asks a task, and knows none.
"""
