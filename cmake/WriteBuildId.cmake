# SPDX-License-Identifier: Apache-2.0
# cmake -DSOURCE=... -DOUT=FILE -P: writes what this tree is at (a commit, + "-dirty") as a header, if that has changed.
# Packagers without a repository set DT2IT_BUILD_ID in the environment.
set(id "$ENV{DT2IT_BUILD_ID}")
if(NOT id)
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=10 --match=NeVeR
    OUTPUT_VARIABLE id ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(id)
    set(id "g${id}")
  endif()
endif()
set(text "#define DT2IT_BUILD_ID \"${id}\"\n")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
