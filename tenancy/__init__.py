"""Who owns what: operators, and later enterprises and partnerships."""
