# VP3D_SANITIZE and VP3D_BUILD_FUZZERS instrument everything that is compiled from here on.
if(VP3D_SANITIZE)
  string(REPLACE ";" "," sanitizers "${VP3D_SANITIZE}")
  add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${sanitizers})
endif()

if(VP3D_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "Fuzzers need Clang, which has libFuzzer, and the compiler is "
      "${CMAKE_CXX_COMPILER_ID}; set CMAKE_CXX_COMPILER=clang++")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
