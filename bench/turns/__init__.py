"""Turn-taking on scripted dialogues: the corpus, the players, and the figures."""
