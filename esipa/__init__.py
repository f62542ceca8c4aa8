"""ESipa: devices' IPAs call the eIM (SGP.32 6.3, ASN.1 binding)."""
