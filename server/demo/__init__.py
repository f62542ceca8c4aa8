"""The demonstration: a server as a user would run it, and the other side played by the simulator."""
