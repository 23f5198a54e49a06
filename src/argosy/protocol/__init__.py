"""The Open Inference Protocol v2 and rows in plain JSON, as pure functions of bytes and tensors."""
