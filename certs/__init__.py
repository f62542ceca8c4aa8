"""The test PKI and the folder of certificates a server runs on (SGP.22 4.5.2, SGP.26 variant O)."""
