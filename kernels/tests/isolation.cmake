# Do the kernels' object files keep to themselves? cmake -DNM=nm -DOBJECTS="a.o;b.o" -P isolation.cmake
# Weak symbols are those of which the linker keeps one for all files.
list(LENGTH OBJECTS count)
if(count EQUAL 0)
  message(FATAL_ERROR "no object files of kernels were given")
endif()
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} --demangle ${object}
    OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL " [WVu] [^\n]*" shared "${symbols}")
  if(shared)
    list(JOIN shared "\n" names)
    message(FATAL_ERROR "${object} shares functions with other files:\n${names}")
  endif()
endforeach()
message(STATUS "${count} object files, no shared functions")
