"""ES9+, between LPA and SM-DP+ (SGP.22 5.6, 6.5.2.6 to 6.5.2.10)."""
