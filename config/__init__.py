"""What every process agrees on: settings, Redis names, messages, errors, metrics. Imports nothing of ours."""
