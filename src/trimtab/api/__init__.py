"""ONE FUNCTION A VERB, a file a group: what the command line calls is what a program calls. Plain values and typed
options in, plain data out.

tune (tune, explain, train) · study · results · card · review · plan · forecast · folder. `trimtab.tune` and the like
are these.
"""
