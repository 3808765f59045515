"""DOING WHAT WAS DECIDED: the worker that trains and measures, the models it keeps, and launchers that carry jobs
elsewhere."""
