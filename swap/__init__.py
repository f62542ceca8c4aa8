"""The role that swaps carriers: plans a swap, runs or undoes it across crashes, and says what it did."""
