"""Layers, recurrences, the scan that defers weight gradients, and the softmax over large vocabularies."""
