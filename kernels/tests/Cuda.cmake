# The CUDA kernels on a simulated grid: no GPU and no nvcc is needed.
add_library(vp3d_simulated STATIC simulated_kernels.cpp)
set_target_properties(vp3d_simulated PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_link_libraries(vp3d_simulated PUBLIC vp3d::cuda PRIVATE vp3d_strict)
if(NOT VP3D_SANITIZE)
  # As in Python's tests; -O3 takes half as long again to compile.
  target_compile_options(vp3d_simulated PRIVATE -O2)
endif()
foreach(name cuda_image cuda_layout)
  vp3d_test(${name})
  target_link_libraries(test_${name} PRIVATE vp3d::cuda)
endforeach()
foreach(name cuda_stream cuda_splits cuda_clip)
  vp3d_test(${name})
  target_link_libraries(test_${name} PRIVATE vp3d_simulated)
endforeach()
# Under a sanitizer or an emulator, where each case takes five to ten times as long, fewer are drawn.
if(VP3D_SANITIZE OR CMAKE_CROSSCOMPILING)
  foreach(name cuda_stream cuda_splits cuda_clip)
    target_compile_definitions(test_${name} PRIVATE VP3D_TESTS_RUN_SLOWLY)
  endforeach()
endif()
# The longest begins first.
set_tests_properties(cuda_stream PROPERTIES COST 100)
vp3d_test(cuda_processing ${CMAKE_CURRENT_SOURCE_DIR}/processing.txt)
target_link_libraries(test_cuda_processing PRIVATE vp3d_simulated)

# What tests of the runtime launch instead of a GPU's kernels; they compile it themselves, and here it
# is held to our warnings, once for each compiler.
if(NOT VP3D_SANITIZE)
  add_library(vp3d_simulated_launch MODULE simulated_launch.cpp)
  target_link_libraries(vp3d_simulated_launch PRIVATE vp3d_simulated vp3d_strict)
  target_compile_options(vp3d_simulated_launch PRIVATE -O2)  # as there
endif()

# What the compiler made of them. That they compile for every architecture is part of the build;
# where nvcc is missing neither was looked at, and the test says so.
if(VP3D_FATBIN_ARCHITECTURES)
  vp3d_test(cuda_resources ${VP3D_PTXAS_REPORT} ${PROJECT_SOURCE_DIR}/kernels/cuda/resources.txt
    ${VP3D_NVCC_VERSION} ${VP3D_FATBIN_ARCHITECTURES})
  target_link_libraries(test_cuda_resources PRIVATE vp3d::cuda)
  add_dependencies(test_cuda_resources vp3d_fatbin)
elseif(VP3D_CUDA)
  add_test(NAME cuda_resources COMMAND ${CMAKE_COMMAND} -E echo
    "NOT RUN: the CUDA kernels were not compiled, for want of a working nvcc")
  set_tests_properties(cuda_resources PROPERTIES SKIP_REGULAR_EXPRESSION "NOT RUN")
endif()
