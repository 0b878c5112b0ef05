# SPDX-License-Identifier: Apache-2.0
# Variables: BUILD (this project's build tree), WORK (scratch folder), CXX, LAUNCHER, FLAGS, LINK_FLAGS,
# MODULE_FLAGS.
function(step what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what} failed (${status}):\n${output}")
  endif()
  message(STATUS "${what}")
endfunction()

file(REMOVE_RECURSE ${WORK})
# Installed under one name and moved: nothing in it may depend on where it was put.
step("Install the SDK" ${CMAKE_COMMAND} --install ${BUILD} --component sdk --prefix ${WORK}/first)
file(RENAME ${WORK}/first ${WORK}/sdk)
file(COPY ${WORK}/sdk/share/dt2it/template DESTINATION ${WORK})
set(template ${WORK}/template)
step("Configure the template" ${CMAKE_COMMAND} -S ${template} -B ${template}/build -G Ninja
  -DCMAKE_PREFIX_PATH=${WORK}/sdk -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}
  "-DCMAKE_CXX_FLAGS=${FLAGS}" "-DCMAKE_EXE_LINKER_FLAGS=${LINK_FLAGS}"
  "-DCMAKE_MODULE_LINKER_FLAGS=${MODULE_FLAGS}")
step("Build the template" ${CMAKE_COMMAND} --build ${template}/build)
step("Test the template" ${CMAKE_CTEST_COMMAND} --test-dir ${template}/build --output-on-failure)

foreach(file length_gap.so length_gap.json)
  if(NOT EXISTS ${template}/build/plugins/curators/${file})
    message(FATAL_ERROR "the build left no plugins/curators/${file}")
  endif()
endforeach()
file(READ ${template}/build/plugins/curators/length_gap.json description)
string(JSON name GET "${description}" name)
string(JSON parameter GET "${description}" components 0 params 0 name)
if(NOT name STREQUAL "curators/length_gap" OR NOT parameter STREQUAL "max_ratio")
  message(FATAL_ERROR "the description is not that of the template: ${description}")
endif()
