"""The Open Inference Protocol v2: pure functions between bytes and tensors. No sockets, no state."""
