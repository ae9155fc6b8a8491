# Sources that use metal-cpp, Apple's C++ face of Metal. On macOS they are ordinary sources. Elsewhere clang 19 compiles them (the
# headers want blocks, which GCC does not have) against stub system headers, for the software Metal device of tests/metalsim.
#
# The headers are never in the tree: `./dev` takes them from the wheel mlx-metal of PyPI, of a fixed version and hash, into
# build/metal-cpp (metal_cpp_wheel in ./dev). INVAR_METAL_CPP names another folder: the metal-cpp that Apple publishes, say.
set(INVAR_METAL_CPP "${CMAKE_SOURCE_DIR}/build/metal-cpp/0.32.4" CACHE PATH
    "Folder with the metal-cpp headers (Foundation/, Metal/)")
find_program(INVAR_METALSIM_CLANG clang++-19 DOC "The compiler of the software Metal device")

# INVAR_METAL: whether the backend metal is built. On Linux that takes clang 19, the headers and x86-64, and no sanitizer (they
# do not follow the fibers of the software device). Where INVAR_REQUIRE_METALSIM is in the environment, as in CI, it must be.
set(INVAR_METAL OFF)
set(reason "")
if(INVAR_SANITIZE)
  set(INVAR_METAL OFF)
elseif(NOT EXISTS ${INVAR_METAL_CPP}/Metal/Metal.hpp)
  set(reason "no metal-cpp headers in ${INVAR_METAL_CPP}; `./dev setup --ci` fetches them, or set INVAR_METAL_CPP")
elseif(APPLE)
  set(INVAR_METAL ON)
elseif(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(reason "the software Metal device is for Linux on x86-64")
elseif(NOT INVAR_METALSIM_CLANG)
  set(reason "no clang++-19; `./dev setup --ci` installs it")
elseif(NOT INVAR_TESTS)
  set(reason "the software Metal device is part of the tests")
else()
  set(INVAR_METAL ON)
endif()
if(reason)
  if(DEFINED ENV{INVAR_REQUIRE_METALSIM} AND NOT INVAR_METAL)
    message(FATAL_ERROR "The backend metal must be built (INVAR_REQUIRE_METALSIM is set): ${reason}")
  endif()
  message(STATUS "Without the backend metal: ${reason}")
endif()

# invar_metal_cpp_sources(TARGET SOURCES...): adds sources that include metal-cpp to a target. They see src/, include/, tests/,
# and the warnings of invar_flags. INVAR_ONLY_LINT (preset lint): sources like any other, for compile_commands.json, which
# clang-tidy reads; that tree is never built.
function(invar_metal_cpp_sources target)
  if(APPLE)
    target_sources(${target} PRIVATE ${ARGN})
    target_include_directories(${target} SYSTEM PRIVATE ${INVAR_METAL_CPP})
    return()
  endif()
  if(INVAR_ONLY_LINT)
    target_sources(${target} PRIVATE ${ARGN})
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/tests)
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS
      "-fblocks;-isystem${CMAKE_SOURCE_DIR}/tests/metalsim/sysroot;-isystem${INVAR_METAL_CPP}")
    return()
  endif()
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS_${type}}")
  list(APPEND flags -std=c++20 -fblocks -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -march=x86-64-v2
       -ffp-contract=off -Wall -Wextra -Wno-deprecated-declarations)
  if(INVAR_WERROR)
    list(APPEND flags -Werror)
  endif()
  list(APPEND flags -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR}/tests
       -isystem ${CMAKE_SOURCE_DIR}/tests/metalsim/sysroot -isystem ${INVAR_METAL_CPP})
  foreach(source ${ARGN})
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE shown)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}.metal-cpp/${shown}.o)
    cmake_path(GET object PARENT_PATH folder)
    file(MAKE_DIRECTORY ${folder})
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${INVAR_METALSIM_CLANG} ${flags} -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d COMMENT "Building ${target}: ${shown} (clang)" VERBATIM)
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    target_sources(${target} PRIVATE ${object})
  endforeach()
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()
