# One fatbin of all kernels for all architectures: the target vp3d_fatbin. nvcc is called directly:
# enabling the language would want a whole CUDA runtime to link with, which nothing here needs.
#
# CMAKE_CUDA_ARCHITECTURES narrows the architectures, in CMake's notation: 90a, 90a-real (machine
# code alone), 90-virtual (PTX alone). VP3D_FATBIN_ARCHITECTURES is what machine code is made for.
find_program(VP3D_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH ENV CUDA_HOME /usr/local/cuda
  PATH_SUFFIXES bin)
if(NOT VP3D_NVCC)
  message(STATUS "vp3d: nvcc was not found; built without CUDA kernels. Install the CUDA toolkit, "
    "or name it: -DVP3D_NVCC=/usr/local/cuda/bin/nvcc")
  return()
endif()

# A toolkit that is damaged, or does not know the C++ compiler at hand, must not stop the rest.
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/nothing.cu "__global__ void nothing() {}\n")
execute_process(
  COMMAND ${VP3D_NVCC} -fatbin -o nothing.fatbin nothing.cu
  WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR} RESULT_VARIABLE failed ERROR_VARIABLE why
  OUTPUT_QUIET)
if(failed)
  message(STATUS "vp3d: ${VP3D_NVCC} does not work; built without CUDA kernels: ${why}")
  return()
endif()
execute_process(COMMAND ${VP3D_NVCC} --version OUTPUT_VARIABLE version)
string(REGEX REPLACE ".*release ([0-9]+\\.[0-9]+).*" "\\1" VP3D_NVCC_VERSION "${version}")
execute_process(COMMAND ${VP3D_NVCC} --list-gpu-code OUTPUT_VARIABLE known_architectures)
string(REGEX MATCHALL "sm_[0-9]+" known_architectures "${known_architectures}")

set(architectures ${CMAKE_CUDA_ARCHITECTURES})
if(NOT architectures)
  # PTX of 90 serves what comes later, and the relatives of 100a and 110a.
  set(architectures 75-real 80-real 86-real 87-real 89-real 90a-real 100a-real 110a-real 120-real
    90-virtual)
endif()

set(generate "")
set(VP3D_FATBIN_ARCHITECTURES "")
foreach(architecture ${architectures})
  if(NOT architecture MATCHES "^([0-9]+)([af]?)(-real|-virtual)?$")
    message(FATAL_ERROR "CMAKE_CUDA_ARCHITECTURES names \"${architecture}\"; the kernels need "
      "numbers, such as 75;87;90a-real")
  endif()
  set(number ${CMAKE_MATCH_1}${CMAKE_MATCH_2})
  set(kind "${CMAKE_MATCH_3}")
  # The kernels for Hopper's warpgroups are there in 90a alone, whose machine code every GPU of 9.0
  # runs; later ones run the PTX of plain 90.
  set(real ${number})
  if(number STREQUAL "90")
    set(real 90a)
  endif()
  if(NOT "sm_${CMAKE_MATCH_1}" IN_LIST known_architectures)
    message(STATUS "vp3d: ${VP3D_NVCC} has no sm_${number}; built without kernels for it")
    continue()
  endif()
  if(NOT kind STREQUAL "-virtual")
    list(APPEND generate -gencode arch=compute_${real},code=sm_${real})
    list(APPEND VP3D_FATBIN_ARCHITECTURES ${real})
  endif()
  if(NOT kind STREQUAL "-real")
    list(APPEND generate -gencode arch=compute_${number},code=compute_${number})
  endif()
endforeach()
if(NOT generate)
  message(FATAL_ERROR "${VP3D_NVCC} knows none of the architectures ${architectures}")
endif()

set(VP3D_FATBIN ${CMAKE_CURRENT_BINARY_DIR}/kernels.fatbin)
set(VP3D_PTXAS_REPORT ${CMAKE_CURRENT_BINARY_DIR}/ptxas.txt)  # registers, spills, shared memory
file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/../cuda/*.hpp
  ${CMAKE_CURRENT_LIST_DIR}/../cuda/*.cu*)
# Machine code for all architectures is 25 MB, and a tenth of that compressed; the driver unpacks the
# part that it needs. The report goes to standard error, together with what stops the compilation:
# show it then.
string(JOIN " " command "\"${VP3D_NVCC}\"" -fatbin -Xfatbin=-compress-all -std=c++17 -O3
  ${generate} -Xptxas -v -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror -o "\"${VP3D_FATBIN}\""
  "\"${CMAKE_CURRENT_SOURCE_DIR}/kernels.cu\"")
add_custom_command(OUTPUT ${VP3D_FATBIN} ${VP3D_PTXAS_REPORT}
  COMMAND sh -c "${command} 2> \"${VP3D_PTXAS_REPORT}\" || { cat \"${VP3D_PTXAS_REPORT}\" >&2; rm -f \"${VP3D_PTXAS_REPORT}\"; exit 1; }"
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kernels.cu ${headers}
  COMMENT "Compiling CUDA kernels" VERBATIM)
add_custom_target(vp3d_fatbin ALL DEPENDS ${VP3D_FATBIN})
if(SKBUILD)
  install(FILES ${VP3D_FATBIN} DESTINATION vp3d_deploy)
endif()
set(VP3D_FATBIN_ARCHITECTURES ${VP3D_FATBIN_ARCHITECTURES} PARENT_SCOPE)
set(VP3D_PTXAS_REPORT ${VP3D_PTXAS_REPORT} PARENT_SCOPE)
set(VP3D_NVCC_VERSION ${VP3D_NVCC_VERSION} PARENT_SCOPE)
