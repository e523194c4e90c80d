"""Segments as they are kept: the class of every pixel, and which pixels of which image are which segment."""
