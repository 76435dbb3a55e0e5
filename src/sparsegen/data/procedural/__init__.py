"""Endless families of procedural objects, each a pure function of a seed."""
