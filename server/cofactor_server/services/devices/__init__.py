"""Devices that answer pushes: pairing, signed calls, prompts, and the Guardian wire protocol."""
