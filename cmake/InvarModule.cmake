# invar_module(NAME SOURCES...): the backend module lib/invar/invar_NAME.so. It links to libinvar, is loaded by the
# registry at run time, and is installed at the same place relative to the library.
function(invar_module name)
  add_library(invar_${name} MODULE ${ARGN})
  target_include_directories(invar_${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(invar_${name} PRIVATE invar invar_flags Threads::Threads)
  set_target_properties(invar_${name} PROPERTIES PREFIX "" SUFFIX ".so"
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${CMAKE_INSTALL_LIBDIR}/${INVAR_MODULE_FOLDER})
  if(APPLE)
    set_target_properties(invar_${name} PROPERTIES INSTALL_RPATH "@loader_path/..")
  else()
    set_target_properties(invar_${name} PROPERTIES INSTALL_RPATH "$ORIGIN/..")
  endif()
  set_property(GLOBAL APPEND PROPERTY INVAR_PRODUCTS invar_${name})
endfunction()
