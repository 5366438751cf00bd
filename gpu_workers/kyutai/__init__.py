"""What Kyutai's speech models share, STT and TTS alike: checkpoints, devices, and what their tokens mean."""
