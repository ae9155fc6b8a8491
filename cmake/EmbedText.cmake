# invar_embed(VARIABLE FILE): adds to libinvar a source that defines `const char* const VARIABLE` in invar::kernels with
# the text of FILE, so that kernels are edited as files of their own language and nothing is read at run time.
function(invar_embed variable file)
  set(input ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${variable}.cpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${input})
  file(READ ${input} text)
  set(generated "namespace invar::kernels {
extern const char* const ${variable};
const char* const ${variable} = R\"embedded(${text})embedded\";
}  // namespace invar::kernels
")
  set(present "")
  if(EXISTS ${output})
    file(READ ${output} present)
  endif()
  if(NOT present STREQUAL generated)
    file(WRITE ${output} "${generated}")
  endif()
  target_sources(invar PRIVATE ${output})
endfunction()
