"""WHAT IT LEARNS FROM: files -> examples -> splits -> token ids and masks, and a table of what was read. No torch."""
