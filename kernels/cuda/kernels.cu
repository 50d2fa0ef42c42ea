// All kernels: nvcc makes one fatbin of one file.
#include "clip.cu"
#include "stream_step.cu"
#include "stream_wide.cu"
