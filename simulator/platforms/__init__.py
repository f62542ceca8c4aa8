"""Simulators of carriers' connectivity platforms, each built to the public documentation of its platform."""
