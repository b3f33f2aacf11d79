"""What runs a network: OpenVINO, torch, torch.compile; on which device, with which memory.

Imports weights, vectors and the protocol.
"""
