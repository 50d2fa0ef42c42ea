# The CUDA kernels on a simulated grid: no GPU and no nvcc is needed.
vp3d_test(cuda_stream)
target_link_libraries(test_cuda_stream PRIVATE vp3d::cuda)
