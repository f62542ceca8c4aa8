"""Everything on the other side of our interfaces: cards, devices, operators, and fleets of them for load."""
