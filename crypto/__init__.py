"""The mathematics of SGP.22: signatures, key agreement, secure messaging, certificate chains."""
