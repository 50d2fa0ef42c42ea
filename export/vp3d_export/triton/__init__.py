"""A model repository for Triton Inference Server, written from a bundle (docs/triton.md)."""
