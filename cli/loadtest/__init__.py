"""`antiphon loadtest`: simulated talkers, what they measured, and whether it holds the targets."""
