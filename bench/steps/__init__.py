"""The loop round the engines: its own cost, and who is late when steps are scarce."""
