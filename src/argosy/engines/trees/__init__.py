"""Ensembles of trees in one form, read from the models of every library, for C and ONNX."""
