# Cross-compile for AArch64 on another Linux, and run what was built under user-mode emulation:
#
#   cmake -S . -B build/aarch64 -DCMAKE_TOOLCHAIN_FILE=kernels/cmake/aarch64-toolchain.cmake
#
# Debian and Ubuntu: apt install g++-aarch64-linux-gnu qemu-user
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)

# `max` has every instruction that the emulator knows: dot products and half precision among them.
set(VP3D_EMULATED_CPU max CACHE STRING "The processor that is emulated")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu ${VP3D_EMULATED_CPU})
