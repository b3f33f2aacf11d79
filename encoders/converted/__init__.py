"""Models that were converted to OpenVINO, kept on this machine: where, and what proves them whole.

Imports model_folder and what is below it.
"""
