// SPDX-License-Identifier: Apache-2.0
#pragma once

// Plugins of the build tree, and configuration values written short, for the tests in this folder.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "dt2it/params.hpp"
#include "dt2it/testing/loaded_plugin.hpp"
#include "tests/paths.hpp"

namespace dt2it::testing {

// The library of "scorers/pointwise".
class PluginLibrary final : public LoadedPlugin {
 public:
  explicit PluginLibrary(const std::string& name)
      : LoadedPlugin(build_path("/lib/dt2it/plugins/") + name + ".so") {}
};

inline Value value_of(std::string text) { return {std::move(text)}; }
inline Value value_of(const char* text) { return {std::string(text)}; }
inline Value value_of(bool flag) { return {flag}; }
inline Value value_of(int number) { return {static_cast<std::int64_t>(number)}; }
inline Value value_of(double number) { return {number}; }
inline Value names(std::initializer_list<const char*> items) {
  List list;
  for (const char* item : items) list.push_back(value_of(item));
  return {std::move(list)};
}

}  // namespace dt2it::testing
