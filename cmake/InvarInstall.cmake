# What an install holds, and the packages made from it. Every path is relative: an installed tree may be moved.
#   bin/invar  lib/libinvar.so*  lib/invar/*.so (backend modules)  include/invar/*.h  lib/cmake/invar (find_package)
include(CMakePackageConfigHelpers)

set(invar_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/invar)
install(TARGETS invar EXPORT invarTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
# Backend modules are installed by invar_backend() in src/backends.
if(TARGET invar_cli)
  install(TARGETS invar_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/invar DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/invar RENAME copyright)
install(EXPORT invarTargets NAMESPACE invar:: DESTINATION ${invar_cmake_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/invarConfig.cmake.in ${CMAKE_BINARY_DIR}/invarConfig.cmake
  INSTALL_DESTINATION ${invar_cmake_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/invarConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/invarConfig.cmake ${CMAKE_BINARY_DIR}/invarConfigVersion.cmake
  DESTINATION ${invar_cmake_dir})

set(CPACK_PACKAGE_NAME invar)
set(CPACK_PACKAGE_VENDOR "The Invar authors")
set(CPACK_PACKAGE_CONTACT "The Invar authors <invar@localhost>")
set(CPACK_PACKAGE_FILE_NAME invar-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
include(CPack)
