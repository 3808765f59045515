"""DOING IT: build the model and its batches, train a cohort, guard it, checkpoint it. The room where torch lives."""
