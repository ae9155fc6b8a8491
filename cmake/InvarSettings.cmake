# Compiler settings that hold for every target.
# lib/ on every system (Debian's own default under /usr is lib/<triplet>): the same layout in a build and in an install.
set(CMAKE_INSTALL_LIBDIR lib CACHE PATH "Where libraries go, relative to the prefix")
include(GNUInstallDirs)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Programs lie in bin/, libinvar in lib/, backend modules in lib/invar/: the same layout as an install, so that run paths
# and the search for modules are the same in both.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${CMAKE_INSTALL_LIBDIR})
if(APPLE)
  set(CMAKE_INSTALL_RPATH "@loader_path/../${CMAKE_INSTALL_LIBDIR};@loader_path")
else()
  set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};$ORIGIN")
endif()
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)

option(INVAR_PRECOMPILE "Precompile the standard headers for libinvar and the tests (serves clang; ccache then has no part in it)" OFF)
if(NOT INVAR_PRECOMPILE)
  find_program(INVAR_CCACHE ccache)
  if(INVAR_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${INVAR_CCACHE})
  endif()
endif()
# invar_precompile(TARGET HEADERS...): the standard headers of most sources, and the given ones, are read once for the target,
# which takes a third off the time of a clean build by clang and nothing off GCC's. On in the trees of sanitizers; a release
# build goes without, so that a header that is not included where it is used is still seen.
function(invar_precompile target)
  if(INVAR_PRECOMPILE)
    target_precompile_headers(${target} PRIVATE <algorithm> <array> <atomic> <cmath> <cstdint> <cstring> <functional> <map> <memory>
      <mutex> <optional> <span> <string> <string_view> <vector> ${ARGN})
  endif()
endfunction()

add_library(invar_flags INTERFACE)
# Contraction is off everywhere: FMA is written where it is meant, so that every build gives the same bits.
target_compile_options(invar_flags INTERFACE -Wall -Wextra -ffp-contract=off)
# Warnings are errors for the compilers that CI uses. Another one may warn of more, and must still build.
if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13) OR
   (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 20))
  set(known_compiler ON)
else()
  set(known_compiler OFF)
endif()
option(INVAR_WERROR "Warnings are errors" ${known_compiler})
if(INVAR_WERROR)
  target_compile_options(invar_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(invar_flags INTERFACE -Wno-restrict)  # false alarms of GCC 12 on std::string (bug 105651)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # std::stable_sort of libstdc++ 12; loops of the interpreter that are asked to be vectorised and at -O1 are not
  target_compile_options(invar_flags INTERFACE -Wno-deprecated-declarations -Wno-pass-failed)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # v2 so that Highway's baseline is SSE4 and never its scalar target.
  target_compile_options(invar_flags INTERFACE -march=x86-64-v2)
endif()
if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT INVAR_SANITIZE)
  # What libinvar lacks is said when it is linked, not when something uses it (sanitizers define theirs in the program).
  add_link_options(LINKER:--no-undefined)
endif()
if(INVAR_SANITIZE)
  add_compile_options(-fsanitize=${INVAR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${INVAR_SANITIZE})
endif()
if(INVAR_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "INVAR_FUZZ needs clang, because GCC has no libFuzzer; use the preset `fuzz`")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage of libinvar too; the targets themselves bring the loop
endif()
