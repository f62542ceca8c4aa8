"""The role SM-DP+ (SGP.22): every decision, no input or output."""
