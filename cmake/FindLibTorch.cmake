# SPDX-License-Identifier: Apache-2.0
# LibTorch from LIBTORCH_ROOT (a wheel's torch folder, or an unpacked libtorch), else from
# CMAKE_PREFIX_PATH (the same, or the folder that torch.utils.cmake_prefix_path names). Unlike the config file
# it carries, this demands no CUDA toolkit and leaves a clean run path. Target: LibTorch::LibTorch.
# LibTorch_VERSION comes from its version.h.
set(_hints)
if(LIBTORCH_ROOT)
  set(_hints ${LIBTORCH_ROOT}/include)
endif()
string(REPLACE ":" ";" _prefixes "$ENV{CMAKE_PREFIX_PATH}")
foreach(_prefix ${CMAKE_PREFIX_PATH} ${_prefixes})
  list(APPEND _hints ${_prefix}/../../include)
endforeach()
find_path(LibTorch_INCLUDE_DIR ATen/ATen.h HINTS ${_hints})
if(LibTorch_INCLUDE_DIR)
  get_filename_component(LibTorch_INCLUDE_DIR "${LibTorch_INCLUDE_DIR}" REALPATH)
endif()
get_filename_component(_root "${LibTorch_INCLUDE_DIR}" DIRECTORY)
set(_libs)
foreach(library c10 torch_cpu torch c10_cuda torch_cuda)  # the last two in CUDA builds only
  find_library(LibTorch_${library} ${library} HINTS ${_root}/lib NO_DEFAULT_PATH)
  if(LibTorch_${library})
    list(APPEND _libs ${LibTorch_${library}})
  endif()
  mark_as_advanced(LibTorch_${library})
endforeach()
if(LibTorch_INCLUDE_DIR)
  foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(NOT LibTorch_VERSION AND EXISTS ${LibTorch_INCLUDE_DIR}/${header})
      file(STRINGS ${LibTorch_INCLUDE_DIR}/${header} _lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
      string(REGEX MATCHALL "[0-9]+" _numbers "${_lines}")
      list(JOIN _numbers "." LibTorch_VERSION)
    endif()
  endforeach()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch REQUIRED_VARS LibTorch_INCLUDE_DIR LibTorch_torch_cpu LibTorch_c10
  VERSION_VAR LibTorch_VERSION REASON_FAILURE_MESSAGE "set LIBTORCH_ROOT, or run ./dev setup")
if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
    ${LibTorch_INCLUDE_DIR} ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)
  # -fopenmp only for the compiler: at::parallel_for in our code is serial without it, and torch brings
  # its own libgomp. --no-as-needed keeps libtorch_cuda, which no symbol of ours names.
  target_compile_options(LibTorch::LibTorch INTERFACE -fopenmp)
  target_compile_definitions(LibTorch::LibTorch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO
    DT2IT_TORCH_VERSION="${LibTorch_VERSION}")
  target_link_libraries(LibTorch::LibTorch INTERFACE
    "-Wl,--push-state,--no-as-needed" ${_libs} "-Wl,--pop-state")
endif()
mark_as_advanced(LibTorch_INCLUDE_DIR)
