# Shows that an install may be moved: DESTDIR install, rename, then find_package, build and run the examples there.
# Variables: BUILD, SOURCE (folders), CONFIG, COMPILER.
set(work ${BUILD}/install-test)
set(moved "${work}/moved elsewhere")  # a blank in the path must not matter
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "failed (${code}): ${command}\n${out}")
  endif()
  set(output "${out}" PARENT_SCOPE)
endfunction()

set(ENV{DESTDIR} ${work}/stage)
run(${CMAKE_COMMAND} --install ${BUILD} --config ${CONFIG} --prefix /opt/invar)
unset(ENV{DESTDIR})
file(RENAME ${work}/stage/opt/invar ${moved})

# Nothing of the source or build folder may be named in what other projects read.
file(GLOB_RECURSE texts "${moved}/lib/cmake/*.cmake" "${moved}/include/*.h")
foreach(text IN LISTS texts)
  file(READ "${text}" content)
  foreach(folder ${SOURCE} ${BUILD} /opt/invar)
    string(FIND "${content}" "${folder}/" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${text} names ${folder}: an install could not be moved")
    endif()
  endforeach()
endforeach()

run(${CMAKE_COMMAND} -S ${SOURCE}/examples/hello -B ${work}/hello -G Ninja "-DCMAKE_PREFIX_PATH=${moved}"
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=${COMPILER})
run(${CMAKE_COMMAND} --build ${work}/hello)
run(${work}/hello/hello ${SOURCE}/models/tiny "The file")
if(NOT output MATCHES "^The file.*[a-z]")
  message(FATAL_ERROR "hello wrote nothing after its prompt:\n${output}")
endif()
message(STATUS "${output}")
# So does the other example, which the README shows.
run(${CMAKE_COMMAND} -S ${SOURCE}/examples/program -B ${work}/program -G Ninja "-DCMAKE_PREFIX_PATH=${moved}"
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=${COMPILER})
run(${CMAKE_COMMAND} --build ${work}/program)
run(${work}/program/program)
if(NOT output MATCHES "^12 24 36 from ")
  message(FATAL_ERROR "the kernel program gave another result than 12 24 36:\n${output}")
endif()
# The modules are found beside the moved library.
run("${moved}/bin/invar" devices)
message(STATUS "${output}")
if(NOT output MATCHES "null")
  message(FATAL_ERROR "the moved command line does not find the null module:\n${output}")
endif()
