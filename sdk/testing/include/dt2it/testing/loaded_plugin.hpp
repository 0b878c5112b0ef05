// SPDX-License-Identifier: Apache-2.0
#pragma once

// A built plugin library, loaded by path with the host's handshake, for tests that go through the real
// door:
//
//   dt2it::testing::LoadedPlugin plugin(PLUGIN_PATH);
//   auto curator = plugin.make<dt2it::Curator>("length_gap", {{"max_ratio", {2.0}}}, context);

#include <dlfcn.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "dt2it/error.hpp"
#include "dt2it/handshake.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/testing/fake_context.hpp"

namespace dt2it::testing {

class LoadedPlugin {
 public:
  // Throws PluginError naming the path. The library is never unloaded, as in the host.
  explicit LoadedPlugin(const std::string& path) : path_(path) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) throw PluginError(path + ": it cannot be loaded: " + dlerror());
    manifest_ = static_cast<const PluginManifest*>(dlsym(library, "dt2it_plugin_manifest"));
    if (!manifest_) throw PluginError(path + ": the symbol dt2it_plugin_manifest is missing");
    if (const std::string problem = manifest_problem(*manifest_); !problem.empty())
      throw PluginError(path + ": " + problem);
    const auto enter =
        reinterpret_cast<void (*)(Registrar&)>(dlsym(library, "dt2it_plugin_register"));
    if (!enter) throw PluginError(path + ": the symbol dt2it_plugin_register is missing");
    Collector collector(*this);
    enter(collector);
  }
  LoadedPlugin(const LoadedPlugin&) = delete;
  LoadedPlugin& operator=(const LoadedPlugin&) = delete;

  std::string name() const { return std::string(manifest_text(manifest_->name)); }
  std::string version() const { return std::string(manifest_text(manifest_->version)); }
  // By (kind, type).
  const std::map<std::pair<std::string, std::string>, ComponentType>& components() const {
    return types_;
  }

  // Unlike the host this fills no defaults in; those of the Params struct hold.
  template <class Interface>
  std::shared_ptr<Interface> make(std::string_view type, const Table& params,
                                  Context& context) const {
    const auto found = types_.find({Interface::kKind, std::string(type)});
    if (found == types_.end())
      throw ConfigError(path_ + ": it offers no " + Interface::kKind + "/" + std::string(type));
    return std::static_pointer_cast<Interface>(found->second.make(params, context));
  }

  // Makes the plugin's types available to context.make<Interface>(type, params).
  void add_types_to(FakeContext& context) const {
    for (const auto& [key, type] : types_) context.add_maker(key.first, key.second, type.make);
  }

 private:
  class Collector final : public Registrar {
   public:
    using Registrar::add;
    explicit Collector(LoadedPlugin& plugin) : plugin_(plugin) {}
    void add(ComponentType type) override {
      const std::pair<std::string, std::string> key{type.kind, type.name};
      if (!plugin_.types_.emplace(key, std::move(type)).second)
        throw PluginError(plugin_.path_ + ": it registers " + key.first + "/" + key.second +
                          " twice");
    }

   private:
    LoadedPlugin& plugin_;
  };

  std::string path_;
  const PluginManifest* manifest_ = nullptr;
  std::map<std::pair<std::string, std::string>, ComponentType> types_;
};

}  // namespace dt2it::testing
