# Each instruction set's kernels are one file, cpu/kernels_NAME.cpp, compiled with flags of its own;
# nothing else may be, so that a processor without the instructions never meets them. A file whose
# flags the compiler does not know is left out, and VP3D_KERNELS_NAME tells the rest of the library
# which are there.
include(CheckCXXCompilerFlag)

set(vp3d_avx2 -mavx2 -mfma -mf16c)
set(vp3d_avx512 ${vp3d_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)

function(vp3d_add_kernels target)
  string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
  vp3d_add_kernel_file(${target} portable)
  if(processor MATCHES "^(x86_64|amd64)$")
    vp3d_add_kernel_file(${target} avx2 ${vp3d_avx2})
    vp3d_add_kernel_file(${target} avxvnni ${vp3d_avx2} -mavxvnni)
    vp3d_add_kernel_file(${target} avx512 ${vp3d_avx512})
    vp3d_add_kernel_file(${target} avx512vnni ${vp3d_avx512} -mavx512vnni)
  elseif(processor MATCHES "^(aarch64|arm64)$")
    vp3d_add_kernel_file(${target} neon)
    vp3d_add_kernel_file(${target} neondot -march=armv8.2-a+dotprod+fp16)
  endif()
endfunction()

function(vp3d_add_kernel_file target name)
  string(TOUPPER "${name}" upper)
  if(ARGN)
    string(JOIN " " flags ${ARGN})
    set(CMAKE_REQUIRED_QUIET ON)
    check_cxx_compiler_flag("${flags}" VP3D_COMPILES_${upper})
    if(NOT VP3D_COMPILES_${upper})
      message(STATUS "vp3d: the compiler has no ${flags}; built without kernels for ${name}")
      return()
    endif()
  endif()
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/cpu/kernels_${name}.cpp)
  if(NOT EXISTS ${source})
    return()
  endif()
  target_sources(${target} PRIVATE ${source})
  # gcc reassociates sums of integers until they no longer fit the registers, which makes the 8-bit
  # kernels slower; its header of AVX-512 warns of a variable that is meant to be uninitialised.
  set(options ${ARGN})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND options -fno-tree-reassoc -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
  target_compile_definitions(${target} PRIVATE VP3D_KERNELS_${upper}=1)
endfunction()
