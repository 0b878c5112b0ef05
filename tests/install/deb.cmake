# SPDX-License-Identifier: Apache-2.0
# Variables: BUILD, WORK. Makes the Debian package and looks into it.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})
execute_process(COMMAND ${CMAKE_CPACK_COMMAND} -G DEB --config ${BUILD}/CPackConfig.cmake -B ${WORK}
  WORKING_DIRECTORY ${WORK} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
file(GLOB package ${WORK}/*.deb)
if(NOT status EQUAL 0 OR NOT package)
  message(FATAL_ERROR "cpack failed (${status}):\n${output}")
endif()
execute_process(COMMAND dpkg-deb -c ${package} OUTPUT_VARIABLE contents)
foreach(file bin/dt2it lib/dt2it/plugins/curators/vote_flip.so lib/dt2it/plugins/curators/vote_flip.json share/dt2it/configs/profiles/mini.toml
        share/dt2it/experiments/demo.toml share/dt2it/report/report.html share/man/man1/dt2it.1
        share/bash-completion/completions/dt2it share/doc/dt2it/LICENSE)
  if(NOT contents MATCHES " \\./usr/${file}\n")
    message(FATAL_ERROR "the package has no /usr/${file}:\n${contents}")
  endif()
endforeach()
execute_process(COMMAND dpkg-deb -f ${package} Depends OUTPUT_VARIABLE depends)
if(NOT depends MATCHES "libcurl4" OR depends MATCHES "torch")
  message(FATAL_ERROR "odd dependencies: ${depends}")
endif()
message(STATUS "${package}: depends on ${depends}")
