"""Code that runs in the process of a module: contracts, training, gradients and the worker.

It needs torch, numpy and safetensors, and imports nothing else of the harness.
"""
