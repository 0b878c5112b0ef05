# SPDX-License-Identifier: Apache-2.0
# The OpenCV modules in use, without the CMake config that only the 700 MB libopencv-dev carries.
# Targets: opencv::core, opencv::imgproc, opencv::imgcodecs, opencv::videoio.
find_path(OpenCVParts_INCLUDE_DIR opencv2/core.hpp PATH_SUFFIXES opencv4)
set(_found OpenCVParts_INCLUDE_DIR)
foreach(module core imgproc imgcodecs videoio)
  find_library(OpenCVParts_${module} opencv_${module})
  list(APPEND _found OpenCVParts_${module})
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenCVParts REQUIRED_VARS ${_found})
foreach(module core imgproc imgcodecs videoio)
  if(OpenCVParts_FOUND AND NOT TARGET opencv::${module})
    add_library(opencv::${module} UNKNOWN IMPORTED)
    set_target_properties(opencv::${module} PROPERTIES IMPORTED_LOCATION ${OpenCVParts_${module}})
    target_include_directories(opencv::${module} SYSTEM INTERFACE ${OpenCVParts_INCLUDE_DIR})
  endif()
endforeach()
mark_as_advanced(${_found})
