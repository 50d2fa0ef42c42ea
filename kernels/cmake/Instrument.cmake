# VP3D_SANITIZE and VP3D_BUILD_FUZZERS instrument everything that is compiled from here on.
if(VP3D_SANITIZE)
  string(REPLACE ";" "," sanitizers "${VP3D_SANITIZE}")
  # Little optimisation, or compiling the kernels takes minutes; of what debuggers want, the lines.
  add_compile_options(-O1 -g1 -fno-omit-frame-pointer -fsanitize=${sanitizers}
    -fno-sanitize-recover=all)
  if(sanitizers MATCHES "undefined")
    # Conversions of what does not fit are not in the group; for null pointers and objects that end,
    # which double the time to compile, there is the address sanitizer.
    add_compile_options(-fsanitize=float-cast-overflow -fno-sanitize=null,object-size,vptr)
  endif()
  add_link_options(-fsanitize=${sanitizers})
endif()

if(VP3D_BUILD_FUZZERS AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
