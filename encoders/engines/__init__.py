"""What runs a network: OpenVINO, torch or torch.compile, on which device and with which memory.

Imports weights, vectors and the protocol.
"""
