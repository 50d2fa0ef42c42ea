"""A fault for compute-sanitizer to find: what it says of other kernels counts where it finds this.

    compute-sanitizer --tool memcheck .. python -m vp3d_bench.planted_fault memcheck

The kernel runs in a process that this one starts, as some of the tests do: a sanitizer that looks
at its first process alone finds nothing. Without a sanitizer the fault does no harm.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
from collections.abc import Sequence

from vp3d_deploy.engines.cuda_driver import call
from vp3d_deploy.engines.gpu import GpuError, open_gpu

EXIT_PLANTED, EXIT_NONE = 0, 2
TOOLS = ("memcheck", "racecheck")
THREADS, BYTES = 64, 256
# memcheck: a store behind the end of an allocation, in a page that belongs to it. racecheck: each
# warp reads what the other one writes, and neither waits.
PTX = b"""\
.version 6.3
.target sm_75
.address_size 64

.visible .entry planted_memcheck(.param .u64 room)
{
    .reg .u64 %at;
    .reg .u32 %value;
    ld.param.u64 %at, [room];
    cvta.to.global.u64 %at, %at;
    mov.u32 %value, %tid.x;
    st.global.u32 [%at+256], %value;
    ret;
}

.visible .entry planted_racecheck(.param .u64 room)
{
    .shared .align 4 .b8 numbers[256];
    .reg .u64 %at, %offset;
    .reg .u32 %thread, %base, %own, %other, %value;
    ld.param.u64 %at, [room];
    cvta.to.global.u64 %at, %at;
    mov.u32 %thread, %tid.x;
    mov.u32 %base, numbers;
    mad.lo.u32 %own, %thread, 4, %base;
    st.shared.u32 [%own], %thread;
    xor.b32 %other, %thread, 32;
    mad.lo.u32 %other, %other, 4, %base;
    ld.shared.u32 %value, [%other];
    mul.wide.u32 %offset, %thread, 4;
    add.u64 %at, %at, %offset;
    st.global.u32 [%at], %value;
    ret;
}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if the kernel was launched, 2 where none can be."""
    parser = argparse.ArgumentParser(description="A fault for compute-sanitizer to find.")
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--here", action="store_true", help="in this process itself")
    given = parser.parse_args(arguments)
    if not given.here:
        command = [sys.executable, "-m", "vp3d_bench.planted_fault", given.tool, "--here"]
        return subprocess.run(command, check=False).returncode
    try:
        plant(given.tool)
    except (ImportError, GpuError) as error:
        print(f"no fault was planted: {error}", file=sys.stderr)
        return EXIT_NONE
    return EXIT_PLANTED


def plant(tool: str) -> None:
    """Launch the kernel and wait for it. Raises ImportError or GpuError where that cannot be."""
    gpu = open_gpu()
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    with gpu.active():
        call("cuModuleLoadData", ctypes.byref(module), PTX)
        name = f"planted_{tool}".encode()
        call("cuModuleGetFunction", ctypes.byref(function), module, name)
        room, stream = gpu.allocate(BYTES), gpu.stream()
        parameter = ctypes.c_uint64(room.pointer)
        addresses = (ctypes.c_void_p * 1)(ctypes.addressof(parameter))
        shape = (1, 1, 1, THREADS, 1, 1, 0)
        call("cuLaunchKernel", function, *shape, stream.handle, addresses, None)
    try:
        with gpu.active():
            stream.synchronize()
            room.free()
            call("cuModuleUnload", module)
    except GpuError as error:
        # memcheck ends a kernel that it finds at fault, and CUDA with it.
        print(f"the kernel was ended: {error}")


if __name__ == "__main__":
    sys.exit(main())
