# examples/live.cpp as its users run it, and as they build it: test_live writes a bundle and frames,
# the example reads them, test_live compares what came out with the definition.
add_executable(test_live test_live.cpp)
target_link_libraries(test_live PRIVATE vp3d::cpu vp3d_strict)
set(directory ${CMAKE_CURRENT_BINARY_DIR}/live)
file(MAKE_DIRECTORY ${directory})
string(JOIN " " live ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:live>)

function(vp3d_live_test name)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${directory})
  set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED live_bundle)
endfunction()

vp3d_live_test(live_write test_live write)
set_tests_properties(live_write PROPERTIES FIXTURES_SETUP live_bundle FIXTURES_REQUIRED "")
foreach(case fp32.0 fp32.4 fp16.1)
  string(REPLACE "." ";" arguments ${case})
  string(JOIN " " text ${arguments})
  vp3d_live_test(live_${case} sh -c
    "${live} net.vp3d ${text} < frames.txt > poses.${case}.txt")
  set_tests_properties(live_${case} PROPERTIES FIXTURES_SETUP live_${case})
  vp3d_live_test(live_compare_${case} test_live compare ${arguments})
  set_tests_properties(live_compare_${case} PROPERTIES
    FIXTURES_REQUIRED "live_bundle;live_${case}")
endforeach()

function(vp3d_live_refuses name command expression)
  vp3d_live_test(live_${name} sh -c "${command}")
  set_tests_properties(live_${name} PROPERTIES PASS_REGULAR_EXPRESSION "${expression}")
endfunction()
vp3d_live_refuses(no_lag "${live} net.vp3d fp32 5 < frames.txt" "live: lag 5")
vp3d_live_refuses(no_int8 "${live} net.vp3d int8 < frames.txt" "export it again with --int8")
vp3d_live_refuses(no_frame "echo 1 2 3 | ${live} net.vp3d" "a frame has 10 numbers, not .1 2 3")

if(CMAKE_CROSSCOMPILING AND CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  # A Raspberry Pi 3's processor has no dot products: the kernels without them are chosen.
  string(REPLACE "-cpu ${VP3D_EMULATED_CPU}" "-cpu cortex-a53" older "${live}")
  vp3d_live_refuses(dot_products "${live} net.vp3d < frames.txt" "isa neondot")
  vp3d_live_refuses(no_dot_products "${older} net.vp3d < frames.txt" "isa neon,")
endif()

# The example on its own, with find_package. An instrumented library wants the same of its users.
if(VP3D_INSTALL AND NOT CMAKE_CROSSCOMPILING AND NOT VP3D_SANITIZE AND NOT VP3D_BUILD_FUZZERS)
  set(stage ${CMAKE_CURRENT_BINARY_DIR}/stage)
  add_test(NAME install COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${stage})
  set_tests_properties(install PROPERTIES FIXTURES_SETUP installed)
  add_test(NAME find_package COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test
    ${PROJECT_SOURCE_DIR}/kernels/examples ${CMAKE_CURRENT_BINARY_DIR}/find_package
    --build-generator ${CMAKE_GENERATOR} --build-makeprogram ${CMAKE_MAKE_PROGRAM}
    --build-options -DCMAKE_PREFIX_PATH=${stage} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
    --test-command live ${directory}/net.vp3d fp32 0)
  set_tests_properties(find_package PROPERTIES FIXTURES_REQUIRED "installed;live_bundle")
endif()
