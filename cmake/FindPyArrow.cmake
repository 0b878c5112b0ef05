# SPDX-License-Identifier: Apache-2.0
# Arrow and Parquet for C++ from the pyarrow wheel in PYARROW_ROOT. Targets: arrow::arrow, arrow::parquet. The libraries
# carry their version in the file name and have no symlinks: each version has its own.
find_path(PyArrow_INCLUDE_DIR arrow/api.h HINTS ${PYARROW_ROOT}/include $ENV{PYARROW_ROOT}/include NO_DEFAULT_PATH)
get_filename_component(_pyarrow "${PyArrow_INCLUDE_DIR}" DIRECTORY)
file(GLOB PyArrow_ARROW ${_pyarrow}/libarrow.so.[0-9]*)
file(GLOB PyArrow_PARQUET ${_pyarrow}/libparquet.so.[0-9]*)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(PyArrow REQUIRED_VARS PyArrow_INCLUDE_DIR PyArrow_ARROW PyArrow_PARQUET
  REASON_FAILURE_MESSAGE "set PYARROW_ROOT to the folder of the pyarrow package, or run ./dev setup (without it Parquet cannot be read)")
if(PyArrow_FOUND AND NOT TARGET arrow::parquet)
  add_library(arrow::arrow SHARED IMPORTED)
  set_target_properties(arrow::arrow PROPERTIES IMPORTED_LOCATION ${PyArrow_ARROW})
  target_include_directories(arrow::arrow SYSTEM INTERFACE ${PyArrow_INCLUDE_DIR})
  add_library(arrow::parquet SHARED IMPORTED)
  set_target_properties(arrow::parquet PROPERTIES IMPORTED_LOCATION ${PyArrow_PARQUET} INTERFACE_LINK_LIBRARIES arrow::arrow)
endif()
mark_as_advanced(PyArrow_INCLUDE_DIR)
