"""WHAT TO START FROM: facts gathered, the forecast asked, the plan made."""
