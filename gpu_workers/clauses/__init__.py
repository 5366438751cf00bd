"""Speech of engines that take a clause at a time: where text is cut, how it sounds, when each word is heard."""
