"""The corpus of turn-taking: scripts that are always the same, seeds that share nothing, sound measured rightly."""

import importlib.util
from collections import Counter
from random import Random

import numpy as np
import pytest

from bench.turns import bursts, cutting, human, noises, pool, render
from bench.turns.cutting import RATE
from bench.turns.dialogue import OVERLAID, Phrase, Stretch

#: The seeds' voices need packages of their own; the scripts are told apart from them.
scripts = pytest.importorskip("bench.turns.scripts")
SEEDS = ("A", "B")
DIALOGUES = {seed: list(scripts.Author(seed).all()) for seed in SEEDS}
