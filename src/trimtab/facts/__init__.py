"""WHAT IS KNOWN: model, data and machine as typed -> the facts that rules may use. The only place that builds them."""
