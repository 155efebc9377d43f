"""Networks in files: safetensors and checkpoints, ONNX both ways, scikit-learn's perceptrons."""
