// SPDX-License-Identifier: Apache-2.0
#pragma once

// The comparison that host, dt2it-describe and tests make before any C++ object crosses the border.

#include <cstring>
#include <string>
#include <string_view>

#include "dt2it/plugin.hpp"

namespace dt2it {

// A manifest's text field; a broken one may lack its terminating zero.
template <std::size_t N>
std::string_view manifest_text(const char (&field)[N]) {
  return {field, strnlen(field, N)};
}

// Empty when a library with this manifest may be used here; else what is wrong, with both versions.
// Fields are read in an order that is safe for a manifest of unknown shape. LibTorch is not compared:
// the host itself has none, see PluginRegistry.
inline std::string manifest_problem(const PluginManifest& found) {
  const PluginManifest own = make_manifest("", "");
  const std::string again = "; build the plugin again with this SDK";
  if (found.magic != own.magic)
    return "its manifest is not that of a dt2it plugin (wrong magic number)";
  if (found.abi != own.abi)
    return "it was built for SDK ABI " + std::to_string(found.abi) + ", this is SDK ABI " +
           std::to_string(own.abi) + again;
  if (found.size != own.size)
    return "its manifest has " + std::to_string(found.size) + " bytes, this SDK's has " +
           std::to_string(own.size) + again;
  if (manifest_text(found.toolchain) != manifest_text(own.toolchain))
    return "it was built with '" + std::string(manifest_text(found.toolchain)) + "', this is '" +
           std::string(manifest_text(own.toolchain)) + "'" + again;
  return {};
}

}  // namespace dt2it
