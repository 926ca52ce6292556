"""What crosses a process boundary, and nothing else: specs, messages, codec, grids, shares, view, files.

Imports neither torch, moderngl nor textual, so that any process, and a laptop without a GPU stack, can speak it.
"""
