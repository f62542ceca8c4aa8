"""The language of SGP.22: bytes to typed values and back."""
