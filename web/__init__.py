"""The web tier: dialects, turn-taking, pacing, and the sessions that own them. Nothing imports it."""
