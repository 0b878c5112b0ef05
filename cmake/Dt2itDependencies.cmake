# SPDX-License-Identifier: Apache-2.0
# Every third-party library, found once; found ones become targets. What only some parts need is
# looked for here too, so that a missing package is reported at configure time with its name.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS program_options)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(simdjson REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CURL REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto SSL)
find_package(SQLite3 REQUIRED)
find_package(xtensor REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
find_package(LibArchive REQUIRED)
find_package(OpenCVParts REQUIRED)
find_package(PyArrow)
if(DT2IT_TORCH)
  find_package(LibTorch REQUIRED)
endif()

# Debian's toml++ is a shared library: header-only mode costs 2.5 s a file.
add_library(dt2it_toml INTERFACE)
target_link_libraries(dt2it_toml INTERFACE tomlplusplus::tomlplusplus -ltomlplusplus)
target_compile_definitions(dt2it_toml INTERFACE TOML_HEADER_ONLY=0)

add_library(dt2it_boost_dll INTERFACE)  # header-only use, std::filesystem instead of boost_filesystem
target_link_libraries(dt2it_boost_dll INTERFACE Boost::headers ${CMAKE_DL_LIBS})
target_compile_definitions(dt2it_boost_dll INTERFACE BOOST_DLL_USE_STD_FS)
