// SPDX-License-Identifier: Apache-2.0
#pragma once

// The description file beside a plugin library (written by dt2it-describe): what the plugin offers, as
// data, so that a configuration is checked and help is printed without loading the library.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config/catalog.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {

struct PluginDescription {
  std::string name;  // "scorers/pointwise"
  std::string version;
  std::uint32_t abi = 0;
  std::string toolchain;
  std::string torch;
  std::vector<ComponentDescription> components;
};

// Throws PluginError that names the file.
PluginDescription read_description(const std::filesystem::path& file);

// What a loaded library says of itself.
PluginDescription describe(const PluginManifest& manifest, const std::vector<ComponentType>& types);

// The first thing in which the two differ, as "version 1.0.0 against 1.1.0"; nothing when they agree.
// Defaults are not compared: they may depend on the machine.
std::optional<std::string> difference(const PluginDescription& file,
                                      const PluginDescription& library);

}  // namespace dt2it
