"""The parts of `vp3d_deploy.safe_pickle`, which is what the rest of the project imports."""
