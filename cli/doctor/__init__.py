"""`antiphon doctor`: looks at this machine and its surroundings, and says how to mend what is wrong. Mends nothing."""
