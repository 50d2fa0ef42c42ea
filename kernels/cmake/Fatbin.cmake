# One fatbin of all kernels for all architectures: the target vp3d_fatbin. nvcc, and fatbinary beside
# it, are called directly: enabling the language would want a whole CUDA runtime to link with, which
# nothing here needs.
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
get_filename_component(directory ${VP3D_NVCC} DIRECTORY)
find_program(VP3D_FATBINARY fatbinary HINTS ${directory})

# A toolkit that is damaged, or does not know the C++ compiler at hand, must not stop the rest.
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/nothing.cu "__global__ void nothing() {}\n")
execute_process(
  COMMAND ${VP3D_NVCC} -fatbin -o nothing.fatbin nothing.cu
  WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR} RESULT_VARIABLE failed ERROR_VARIABLE why
  OUTPUT_QUIET)
if(failed OR NOT VP3D_FATBINARY)
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

# The PTX that an architecture's machine code is made of. The kernels ask whether they are compiled for
# 8.0 or later, for 9.0 or later, and for 90a: between those, PTX differs by the architecture's name
# alone, and making it takes longer than making machine code of it. From 10.0 on the compiler is
# another.
function(vp3d_ptx_for number into)
  set(base ${number})
  if(NOT number STREQUAL "90a")
    string(REGEX MATCH "^[0-9]+" plain ${number})
    foreach(step 75 80 90 100)
      if(NOT plain LESS step AND "sm_${step}" IN_LIST known_architectures)
        set(base ${step})
      endif()
    endforeach()
  endif()
  set(${into} ${base} PARENT_SCOPE)
endfunction()

set(VP3D_FATBIN_ARCHITECTURES "")
set(virtual_architectures "")
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
    list(APPEND VP3D_FATBIN_ARCHITECTURES ${real})
  endif()
  if(NOT kind STREQUAL "-real")
    list(APPEND virtual_architectures ${number})
  endif()
endforeach()
list(REMOVE_DUPLICATES VP3D_FATBIN_ARCHITECTURES)  # 90 and 90a are one
list(REMOVE_DUPLICATES virtual_architectures)
if(NOT VP3D_FATBIN_ARCHITECTURES AND NOT virtual_architectures)
  message(FATAL_ERROR "${VP3D_NVCC} knows none of the architectures ${architectures}")
endif()

# A step for each PTX and each machine code, so that they use all cores.
file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/../cuda/*.hpp
  ${CMAKE_CURRENT_LIST_DIR}/../cuda/*.cu*)
set(images "")
set(objects "")
set(reports "")
set(ptx_of "")
foreach(number ${VP3D_FATBIN_ARCHITECTURES})
  vp3d_ptx_for(${number} base)
  list(APPEND ptx_of ${base})
  list(APPEND images --image3=kind=elf,sm=${number},file=kernels.${number}.cubin)
  list(APPEND objects kernels.${number}.cubin)
  list(APPEND reports kernels.${number}.txt)
  # The report goes to standard error, together with what stops the compilation: show it then.
  string(JOIN " " command "\"${VP3D_NVCC}\"" -cubin -O3 -arch=sm_${number} -Xptxas -v
    -Werror all-warnings -o kernels.${number}.cubin kernels.${base}.ptx)
  add_custom_command(OUTPUT kernels.${number}.cubin kernels.${number}.txt
    COMMAND sh -c "${command} 2> kernels.${number}.txt || { cat kernels.${number}.txt >&2; rm -f kernels.${number}.txt; exit 1; }"
    DEPENDS kernels.${base}.ptx
    COMMENT "Making machine code of CUDA kernels for sm_${number}" VERBATIM)
endforeach()
foreach(number ${virtual_architectures})
  list(APPEND images --image3=kind=ptx,sm=${number},file=kernels.${number}.ptx)
  list(APPEND objects kernels.${number}.ptx)
  list(APPEND ptx_of ${number})
endforeach()
list(REMOVE_DUPLICATES ptx_of)
foreach(number ${ptx_of})
  add_custom_command(OUTPUT kernels.${number}.ptx
    COMMAND ${VP3D_NVCC} -ptx -std=c++17 -O3 -arch=compute_${number} -Werror all-warnings
      -Xcompiler -Wall,-Wextra,-Werror -o kernels.${number}.ptx
      ${CMAKE_CURRENT_SOURCE_DIR}/kernels.cu
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kernels.cu ${headers}
    COMMENT "Compiling CUDA kernels for compute_${number}" VERBATIM)
endforeach()

# Machine code for all architectures is 25 MB, and a tenth of that compressed; the driver unpacks the
# part that it needs.
set(VP3D_FATBIN ${CMAKE_CURRENT_BINARY_DIR}/kernels.fatbin)
set(VP3D_PTXAS_REPORT ${CMAKE_CURRENT_BINARY_DIR}/ptxas.txt)  # registers, spills, shared memory
string(JOIN " " all_reports ${reports})
add_custom_command(OUTPUT ${VP3D_FATBIN} ${VP3D_PTXAS_REPORT}
  COMMAND ${VP3D_FATBINARY} -64 --compress-all --create=${VP3D_FATBIN} ${images}
  COMMAND sh -c "cat /dev/null ${all_reports} > \"${VP3D_PTXAS_REPORT}\""
  DEPENDS ${objects} ${reports}
  COMMENT "Putting CUDA kernels together" VERBATIM)
add_custom_target(vp3d_fatbin ALL DEPENDS ${VP3D_FATBIN})
if(SKBUILD)
  install(FILES ${VP3D_FATBIN} DESTINATION vp3d_deploy)
endif()
set(VP3D_FATBIN_ARCHITECTURES ${VP3D_FATBIN_ARCHITECTURES} PARENT_SCOPE)
set(VP3D_PTXAS_REPORT ${VP3D_PTXAS_REPORT} PARENT_SCOPE)
set(VP3D_NVCC_VERSION ${VP3D_NVCC_VERSION} PARENT_SCOPE)
