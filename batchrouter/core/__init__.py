"""Pure values and policies: no I/O, no clock, no chance. Readings of all three are arguments."""
