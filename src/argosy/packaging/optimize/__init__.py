"""A smaller and faster version of an ONNX model, made by one of several recipes, and registered if a gate lets it."""
