# SPDX-License-Identifier: Apache-2.0
# Variables: BUILD (this project's build tree), WORK (scratch folder). Installs everything, moves the tree, and uses it from
# another folder without anything of the build tree or the user's settings.
function(step what)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${WORK}/elsewhere RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE error)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what} failed (${status}):\n${output}${error}")
  endif()
  message(STATUS "${what}")
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK}/elsewhere)
step("Install" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/first)
file(RENAME ${WORK}/first ${WORK}/moved)
set(dt2it env -i HOME=${WORK}/elsewhere PATH=/usr/bin:/bin ${WORK}/moved/bin/dt2it)

step("Say the version" ${dt2it} --version)
step("Read an experiment that comes with it" ${dt2it} plan experiments/demo.toml)
step("Run one" ${dt2it} run examples/one_pair.toml --set datasets.prompts.count=30)
file(WRITE ${WORK}/elsewhere/own/row.toml "extends = \"examples/one_pair.toml\"\n")
step("Plan one of the user's that extends one that comes with it" ${dt2it} plan own/row.toml)
file(GLOB reports ${WORK}/elsewhere/runs/*/report.html)
if(NOT reports)
  message(FATAL_ERROR "the run left no report:\n${output}")
endif()
file(READ ${WORK}/elsewhere/runs/one_pair/run.json run)
if(NOT run MATCHES "\"version\": ?\"[0-9]+\\.[0-9]+\\.[0-9]+")
  message(FATAL_ERROR "run.json names no version")
endif()
step("Examine itself" ${dt2it} doctor)
if(output MATCHES "(^|\n)missing")
  message(FATAL_ERROR "doctor misses something:\n${output}")
endif()

# Nothing may be loaded from outside the tree and the system.
file(GLOB_RECURSE libraries ${WORK}/moved/lib/*.so ${WORK}/moved/lib/*.so.*)
foreach(library ${WORK}/moved/bin/dt2it ${libraries})
  step("Look at ${library}" ldd ${library})
  string(REGEX MATCHALL "[^\n]+" lines "${output}")
  foreach(line ${lines})
    if(line MATCHES "not found" OR (line MATCHES "=> (/[^ ]+)" AND NOT CMAKE_MATCH_1 MATCHES "^(/lib|/usr/lib|${WORK}/moved)"))
      message(FATAL_ERROR "${library}: ${line}")
    endif()
  endforeach()
endforeach()

# Completion knows the verbs and their options.
file(WRITE ${WORK}/complete.sh "
source ${WORK}/moved/share/bash-completion/completions/dt2it
COMP_WORDS=(dt2it se) COMP_CWORD=1; _dt2it; [ \"\${COMPREPLY[*]}\" = serve ] || { echo \"verbs: \${COMPREPLY[*]}\"; exit 1; }
COMP_WORDS=(dt2it score --tok) COMP_CWORD=2; _dt2it; [ \"\${COMPREPLY[*]}\" = --tokens-per-batch ] || { echo \"options: \${COMPREPLY[*]}\"; exit 1; }
")
step("Complete words" bash ${WORK}/complete.sh)
file(READ ${WORK}/moved/share/man/man1/dt2it.1 manual)
if(NOT manual MATCHES "\\.SS serve" OR NOT manual MATCHES "tokens\\\\-per\\\\-batch")
  message(FATAL_ERROR "the manual misses verbs or options")
endif()
