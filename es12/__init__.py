"""ES12, from SM-DP+ to SM-DS: events are registered and deleted (SGP.22 5.10, 6.5.2.13, 6.5.2.14)."""
