"""What wants making now, and what was tried: pure decisions, of the disk and a journal beside it."""
