"""What runs the network's layers: PyTorch, OpenVINO or ONNX Runtime. The steps between them are the same for all."""
