"""HOW IT CHANGED: probes and paired measurement of a tuned model against its base. Gives raw numbers per item; no
verdicts."""
