"""WHAT IT SHOULD BE: facts -> a starting recipe, each setting with value, reason, source and range. No torch."""
