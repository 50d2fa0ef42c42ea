// The stream kernels. Blocks are as many as the image says (Image::blocks), of whole warps, at most
// kMostWarps; dynamic shared memory is kFixedBytes, and for vp3d_stream_step Image::staged_bytes
// more, which below sm_80 must be none.
#include "device.cuh"

using vp3d::cuda::Arguments;
using vp3d::cuda::DeviceBlock;

extern __shared__ __align__(1024) unsigned char vp3d_shared[];

// Cooperative: every block must be on the device at once. `arrivals` begins as zero and is the
// kernel's own from then on.
extern "C" __global__ void __launch_bounds__(vp3d::cuda::kMostWarps* vp3d::cuda::kLanes, 1)
    vp3d_stream_step(Arguments arguments, unsigned long long* arrivals) {
  DeviceBlock block(reinterpret_cast<std::byte*>(vp3d_shared), arrivals);
  vp3d::cuda::run_step(block, arguments);
}

// The same as ordinary kernels, one launch after another with phase = 0, 1, ..
extern "C" __global__ void __launch_bounds__(vp3d::cuda::kMostWarps* vp3d::cuda::kLanes, 1)
    vp3d_stream_phase(Arguments arguments, int phase) {
  DeviceBlock block(reinterpret_cast<std::byte*>(vp3d_shared), nullptr);
  vp3d::cuda::run_phase(block, vp3d::cuda::Launch(arguments), phase);
}

// Before and behind the launches of phases, where the image has processing.
extern "C" __global__ void __launch_bounds__(vp3d::cuda::kFrameThreads)
    vp3d_stream_prepare(Arguments arguments) {
  const vp3d::cuda::Launch launch(arguments);
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index < vp3d::cuda::prepared_numbers(launch))
    vp3d::cuda::prepare_number(launch, index, nullptr);
}

extern "C" __global__ void __launch_bounds__(vp3d::cuda::kFrameThreads)
    vp3d_stream_finish(Arguments arguments) {
  const vp3d::cuda::Launch launch(arguments);
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index < vp3d::cuda::finished_numbers(launch)) vp3d::cuda::finish_number(launch, index);
}
