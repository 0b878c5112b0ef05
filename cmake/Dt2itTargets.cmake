# SPDX-License-Identifier: Apache-2.0

# dt2it_core_library(util LINK fmt::fmt): a static library dt2it_util of core/util/*.cpp (header beside
# body, included as "core/util/..."). core/README.md gives the order in which they may depend on each other.
function(dt2it_core_library name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  if(NOT sources)
    add_library(dt2it_${name} INTERFACE)
    target_include_directories(dt2it_${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(dt2it_${name} INTERFACE dt2it::sdk ${arg_LINK})
    return()
  endif()
  add_library(dt2it_${name} STATIC ${sources})
  target_include_directories(dt2it_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(dt2it_${name} PUBLIC dt2it::sdk ${arg_LINK})
endfunction()

# dt2it_add_test(core_util LABELS unit LINK dt2it_util): one Catch2 program of the *_test.cpp in this folder,
# registered under one CTest name. TIMEOUT in seconds (default 120).
function(dt2it_add_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LABELS;LINK;DEPENDS" ${ARGN})
  if(NOT arg_SOURCES)
    file(GLOB arg_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cpp)
  endif()
  if(NOT arg_SOURCES)
    return()
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name}_test ${arg_SOURCES})
  target_link_libraries(${name}_test PRIVATE dt2it_test_main dt2it::sdk_testing ${arg_LINK})
  target_include_directories(${name}_test PRIVATE ${CMAKE_SOURCE_DIR})
  if(arg_DEPENDS)
    add_dependencies(${name}_test ${arg_DEPENDS})
  endif()
  add_test(NAME ${name} COMMAND ${name}_test WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}")
  dt2it_test_timeout(${name} ${arg_TIMEOUT})
endfunction()

# A test of the calling folder may take so many seconds, and longer under sanitizers.
function(dt2it_test_timeout name seconds)
  if(CMAKE_CXX_FLAGS_RELEASE MATCHES "-fsanitize")
    math(EXPR seconds "${seconds} * 10")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${seconds})
endfunction()

# The profile of the mini world names plugins that need LibTorch: without it (preset tsan) these tests of the calling folder are off.
function(dt2it_tests_need_torch)
  if(NOT DT2IT_TORCH)
    set_tests_properties(${ARGN} PROPERTIES DISABLED ON)
  endif()
endfunction()
