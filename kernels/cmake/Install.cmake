# `cmake --install`: headers, the library, and what find_package(vp3d) finds.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

file(STRINGS ${PROJECT_SOURCE_DIR}/pyproject.toml version REGEX "^version = ")
string(REGEX REPLACE "^version = \"(.*)\"$" "\\1" version "${version}")

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/vp3d)
set(targets vp3d_headers)
set_target_properties(vp3d_headers PROPERTIES EXPORT_NAME headers)
if(TARGET vp3d_cpu)
  list(APPEND targets vp3d_cpu)
  set_target_properties(vp3d_cpu PROPERTIES EXPORT_NAME cpu)
endif()
install(TARGETS ${targets} EXPORT vp3dTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/vp3d DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT vp3dTargets NAMESPACE vp3d:: DESTINATION ${package})
configure_package_config_file(cmake/vp3dConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/vp3dConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/vp3dConfigVersion.cmake
  VERSION ${version} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vp3dConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/vp3dConfigVersion.cmake DESTINATION ${package})
