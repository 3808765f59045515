"""WILL IT FIT, HOW LONG: memory traced from the installed model code, time from its FLOPs. Torch only in the tracing
files."""
