// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/catalog.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {

// Knows every plugin on the search path by its description file and loads a library when one of its
// components is made: handshake on the C manifest first, then registration. Libraries stay loaded until
// the process ends. Thread-safe. What is broken or ambiguous hurts only when it is named: then find() and
// make() throw PluginError, which holds the library's path and both versions.
class PluginRegistry : public Catalog {
 public:
  // Folders hold KIND/NAME.so beside KIND/NAME.json; earlier folders win over later ones, and the same
  // name twice in one folder is an error. A library without a description is described by loading it.
  explicit PluginRegistry(std::vector<std::filesystem::path> search_path);
  ~PluginRegistry() override;

  // --plugin-path, then DT2IT_PLUGIN_PATH (colon-separated), then ../lib/dt2it/plugins of the executable.
  static std::vector<std::filesystem::path> default_search_path(
      const std::vector<std::string>& command_line);

  const ComponentDescription* find(std::string_view kind, std::string_view type) const override;
  std::vector<const ComponentDescription*> of_kind(std::string_view kind) const override;
  std::vector<std::string> kinds() const override;

  // Every library that is known to be unusable and every name offered twice, one sentence each.
  std::vector<std::string> problems() const;
  // KIND/NAME of the plugins whose libraries this registry has loaded.
  std::vector<std::string> loaded() const;

  // The host's own stage types are described by the same means.
  void add_builtin(ComponentDescription description);

  // Loads the plugin if need be. Throws PluginError (library unusable, with path and both versions; or the
  // component threw: its name is put before the message) or ConfigError (no such type; bad parameters).
  std::shared_ptr<void> make(std::string_view kind, std::string_view type, const Table& params,
                             Context& context);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dt2it
