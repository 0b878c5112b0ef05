# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` and CPack put where. The tree may be moved: programs find plugins, profiles and report pages from
# their own place, and libraries each other by paths relative to themselves. Libraries that are not the system's (LibTorch,
# Arrow) are copied into lib/dt2it/bundled, so that nothing outside the tree but Debian's packages is needed.
option(DT2IT_BUNDLE "Install LibTorch and Arrow with the program" ON)

get_property(plugins GLOBAL PROPERTY DT2IT_PLUGIN_TARGETS)
if(DT2IT_BUNDLE)
  if(plugins)
    set_target_properties(${plugins} PROPERTIES
      INSTALL_RPATH "$ORIGIN/../../..;$ORIGIN/../../bundled" INSTALL_RPATH_USE_LINK_PATH OFF)
  endif()
  if(TARGET dt2it_nn)
    set_target_properties(dt2it_nn PROPERTIES INSTALL_RPATH "$ORIGIN;$ORIGIN/dt2it/bundled" INSTALL_RPATH_USE_LINK_PATH OFF)
  endif()
  set(libraries)
  foreach(target ${plugins})
    list(APPEND libraries "$<TARGET_FILE:${target}>")
  endforeach()
  set(opened)  # by LibTorch for CUDA when it is first needed
  if(LibTorch_torch_cuda)
    get_filename_component(folder ${LibTorch_torch_cuda} DIRECTORY)
    file(GLOB opened ${folder}/libcaffe2_nvrtc.so)
  endif()
  string(CONFIGURE [[
    set(libraries @libraries@ @opened@)
    file(GET_RUNTIME_DEPENDENCIES LIBRARIES ${libraries} RESOLVED_DEPENDENCIES_VAR found
      UNRESOLVED_DEPENDENCIES_VAR absent CONFLICTING_DEPENDENCIES_PREFIX twice PRE_EXCLUDE_REGEXES "^ld-linux" "^libc\\.so" "^libm\\.so" "^libcuda\\.so"
      POST_EXCLUDE_REGEXES "^/lib" "^/usr/lib" "libdt2it_nn")
    foreach(name ${twice_FILENAMES})  # LibTorch brings an OpenMP of its own beside the system's
      list(FILTER twice_${name} EXCLUDE REGEX "^/lib|^/usr/lib")
      list(APPEND found ${twice_${name}})
    endforeach()
    list(APPEND found @opened@)
    foreach(file IN LISTS found)  # parts that cuDNN and NVRTC open from their own folder
      get_filename_component(folder "${file}" DIRECTORY)
      if(file MATCHES "/libcudnn\\.so")
        file(GLOB parts "${folder}/libcudnn_*.so.*")
        list(APPEND found ${parts})
      elseif(file MATCHES "/libnvrtc\\.so")
        file(GLOB parts "${folder}/libnvrtc-builtins*.so.*")
        list(APPEND found ${parts})
      endif()
    endforeach()
    if(absent)
      message(FATAL_ERROR "cannot find libraries that plugins need: ${absent}")
    endif()
    file(INSTALL DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/dt2it/bundled" TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN FILES ${found})
  ]] bundle @ONLY)
  install(CODE "${bundle}")
endif()

install(DIRECTORY configs experiments DESTINATION share/dt2it)
install(DIRECTORY docs/examples DESTINATION share/dt2it)
install(FILES LICENSE README.md DESTINATION share/doc/dt2it)

# Completion and manual are what the program itself says.
set(words ${CMAKE_BINARY_DIR}/share)
add_custom_command(OUTPUT ${words}/man/man1/dt2it.1 ${words}/bash-completion/completions/dt2it
  COMMAND ${CMAKE_COMMAND} -E make_directory ${words}/man/man1 ${words}/bash-completion/completions
  COMMAND $<TARGET_FILE:dt2it> completion man > ${words}/man/man1/dt2it.1
  COMMAND $<TARGET_FILE:dt2it> completion bash > ${words}/bash-completion/completions/dt2it
  DEPENDS dt2it VERBATIM)
add_custom_target(dt2it_manual ALL DEPENDS ${words}/man/man1/dt2it.1)
install(DIRECTORY ${words}/man ${words}/bash-completion DESTINATION share)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME dt2it)
set(CPACK_PACKAGE_VENDOR "dt2it")
set(CPACK_PACKAGE_CONTACT "dt2it maintainers <maintainers@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Debiased preference data and multimodal reward models")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_COMPRESSION_TYPE zstd)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR}/lib)
if(LibTorch_INCLUDE_DIR)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${LibTorch_INCLUDE_DIR}/../lib)
endif()
if(PyArrow_INCLUDE_DIR)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PyArrow_INCLUDE_DIR}/..)
endif()
include(CPack)
