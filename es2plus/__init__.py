"""ES2+, between operator and SM-DP+ (SGP.22 5.3, 6.5.2.1 to 6.5.2.5)."""
