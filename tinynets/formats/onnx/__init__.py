"""ONNX files as torch modules, operator by operator, and back with the weights pruned."""
