"""What happened in a run, as a file of JSON Lines, and what is drawn from it."""
