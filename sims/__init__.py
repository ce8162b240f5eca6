"""Simulations of small models: what the closed forms of :mod:`theory` predict, measured."""
