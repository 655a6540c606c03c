"""The network as an ONNX file, and that file as a model."""
