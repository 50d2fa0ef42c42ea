// All kernels: nvcc is given one file.
#include "clip.cu"
#include "stream_step.cu"
#include "stream_wide.cu"
