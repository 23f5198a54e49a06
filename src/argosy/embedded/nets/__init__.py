"""Small neural networks as C99: the graph of ONNX, its memory, its operators."""
