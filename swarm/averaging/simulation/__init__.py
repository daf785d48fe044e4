"""Simulated swarms: the real protocol core, a scripted world around it, and checks of every invariant."""
