# SPDX-License-Identifier: Apache-2.0
# dt2it_add_plugin(KIND/NAME [SOURCES ...] [LINK ...] [TORCH]): the only way to build a plugin, here and
# out of tree. Makes <output>/KIND/NAME.so of all *.cpp in the current folder unless told otherwise, and
# beside it NAME.json, its description (manifest, components, parameters), by which the host checks a
# configuration without loading the library. The target is plugin_KIND_NAME; out of tree <output> is
# plugins/ in the build folder (what --plugin-path wants), unless DT2IT_PLUGIN_OUTPUT says otherwise.
function(dt2it_add_plugin plugin)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINK" ${ARGN})
  if(NOT plugin MATCHES "^([a-z_]+)/([a-z0-9_]+)$")
    message(FATAL_ERROR "dt2it_add_plugin: '${plugin}' is not KIND/NAME")
  endif()
  set(kind ${CMAKE_MATCH_1})
  set(name ${CMAKE_MATCH_2})
  if(arg_TORCH AND DEFINED DT2IT_TORCH AND NOT DT2IT_TORCH)
    return()
  endif()
  if(NOT arg_SOURCES)
    file(GLOB arg_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  endif()
  set(target plugin_${kind}_${name})
  add_library(${target} MODULE ${arg_SOURCES})
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_link_libraries(${target} PRIVATE dt2it::sdk ${arg_LINK})
  if(arg_TORCH)
    if(NOT TARGET dt2it::sdk_torch)
      message(FATAL_ERROR "dt2it_add_plugin: ${plugin} needs LibTorch; set LIBTORCH_ROOT")
    endif()
    target_link_libraries(${target} PRIVATE dt2it::sdk_torch)
  endif()
  if(NOT DT2IT_PLUGIN_OUTPUT)
    set(DT2IT_PLUGIN_OUTPUT ${CMAKE_BINARY_DIR}/plugins)
  endif()
  set_target_properties(${target} PROPERTIES
    PREFIX "" OUTPUT_NAME ${name} SUFFIX .so
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LIBRARY_OUTPUT_DIRECTORY ${DT2IT_PLUGIN_OUTPUT}/${kind}
    INSTALL_RPATH "$ORIGIN/../../.." INSTALL_RPATH_USE_LINK_PATH ON)
  add_custom_command(TARGET ${target} POST_BUILD
    COMMAND dt2it::describe $<TARGET_FILE:${target}> ${DT2IT_PLUGIN_OUTPUT}/${kind}/${name}.json
    COMMENT "Describing ${plugin}")
  if(TARGET dt2it_describe)
    add_dependencies(${target} dt2it_describe)
  endif()
  set_property(GLOBAL APPEND PROPERTY DT2IT_PLUGIN_TARGETS ${target})
  if(DT2IT_PLUGIN_INSTALL)
    install(TARGETS ${target} LIBRARY DESTINATION ${DT2IT_PLUGIN_INSTALL}/${kind})
    install(FILES ${DT2IT_PLUGIN_OUTPUT}/${kind}/${name}.json DESTINATION ${DT2IT_PLUGIN_INSTALL}/${kind})
  endif()
endfunction()
