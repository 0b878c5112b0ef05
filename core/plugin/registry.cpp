// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/registry.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "core/config/suggest.hpp"
#include "core/plugin/description.hpp"
#include "core/util/rethrow.hpp"
#include "dt2it/error.hpp"
#include "dt2it/handshake.hpp"

namespace dt2it {
namespace fs = std::filesystem;
namespace {

using Key = std::pair<std::string, std::string>;  // kind, type

// Libraries are never unloaded: objects, exceptions and static destructors of a plugin may outlive any
// registry. The pointers stay reachable, so a leak checker has nothing to say.
boost::dll::shared_library& keep(boost::dll::shared_library library) {
  static std::mutex mutex;
  static auto* const kept = new std::vector<std::unique_ptr<boost::dll::shared_library>>;
  std::lock_guard lock(mutex);
  return *kept->emplace_back(std::make_unique<boost::dll::shared_library>(std::move(library)));
}

// Boost.DLL puts a misleading "Bad file descriptor" around what the loader said.
std::string loader_message(std::string_view text) {
  constexpr std::string_view before = "dlerror system message: ";
  if (const auto begin = text.find(before); begin != std::string_view::npos) {
    text.remove_prefix(begin + before.size());
    text = text.substr(0, text.rfind(')'));
  }
  return first_line(text);
}

class Collector final : public Registrar {
 public:
  using Registrar::add;
  void add(ComponentType type) override { types.push_back(std::move(type)); }
  std::vector<ComponentType> types;
};

struct Plugin {
  std::string name;  // KIND/NAME of its place
  std::string kind;
  fs::path library;
  std::size_t folder = 0;  // rank in the search path
  std::optional<PluginDescription> description;
  bool loaded = false;
  std::string problem;                 // not empty: unusable, and why
  std::map<Key, ComponentType> types;  // after loading
};

}  // namespace

struct PluginRegistry::State {
  struct Item {
    ComponentDescription description;
    Plugin* plugin = nullptr;  // null: built in
    std::string problem;       // not empty: two plugins of one folder offer it
  };

  std::mutex mutex;
  std::vector<std::unique_ptr<Plugin>> plugins;
  std::map<Key, Item, std::less<>> items;
  std::map<std::string, const Plugin*> by_place;
  std::string torch;        // of the first loaded plugin that has it
  std::string torch_owner;  // its library

  void scan(const fs::path& folder, std::size_t rank) {
    std::error_code ignored;
    std::set<fs::path> kinds;
    for (fs::directory_iterator it(folder, ignored), end; it != end; it.increment(ignored))
      if (it->is_directory(ignored)) kinds.insert(it->path());
    for (const fs::path& kind : kinds) {
      std::set<fs::path> stems;
      for (fs::directory_iterator it(kind, ignored), end; it != end; it.increment(ignored))
        if (it->path().extension() == ".so" || it->path().extension() == ".json")
          stems.insert(fs::path(it->path()).replace_extension());
      for (const fs::path& stem : stems) add_place(stem, rank);
    }
  }

  void add_place(const fs::path& stem, std::size_t rank) {
    auto plugin = std::make_unique<Plugin>();
    plugin->kind = stem.parent_path().filename().string();
    plugin->name = plugin->kind + "/" + stem.filename().string();
    plugin->folder = rank;
    plugin->library = stem;
    plugin->library += ".so";
    fs::path file = stem;
    file += ".json";
    std::error_code ignored;
    if (!by_place.emplace(plugin->name, plugin.get()).second) return;  // an earlier folder has it
    Plugin& added = *plugins.emplace_back(std::move(plugin));
    if (!fs::exists(added.library, ignored)) {
      added.problem = fmt::format("{}: the library {} beside this description is missing",
                                  file.string(), added.library.filename().string());
    } else if (fs::exists(file, ignored)) {
      try {
        PluginDescription description = read_description(file);
        if (description.name != added.name)
          throw PluginError(fmt::format("{}: this plugin is named '{}', but it lies at '{}'",
                                        file.string(), description.name, added.name));
        added.description = std::move(description);
        offer(added);
      } catch (const PluginError& error) {
        added.problem = error.what();
      }
    }
  }

  void offer(Plugin& plugin) {
    for (const ComponentDescription& component : plugin.description->components) {
      const Key key{component.kind, component.name};
      const auto [at, fresh] = items.try_emplace(key, Item{component, &plugin, ""});
      if (fresh || !at->second.plugin || at->second.plugin == &plugin) continue;
      Item& old = at->second;
      if (old.plugin->folder < plugin.folder) continue;
      if (old.plugin->folder > plugin.folder) {
        old = {component, &plugin, ""};
      } else {
        old.problem = fmt::format(
            "{}/{} is offered twice, by {} (version {}) and {} (version {}); remove one",
            component.kind, component.name, old.plugin->library.string(), old.description.version,
            plugin.library.string(), component.version);
      }
    }
  }

  // Libraries without a description must be loaded to know what they offer.
  void describe_undescribed(std::string_view kind) {
    for (const auto& plugin : plugins) {
      if (plugin->kind != kind || plugin->description || !plugin->problem.empty()) continue;
      try {
        load(*plugin);
        offer(*plugin);
      } catch (const PluginError& error) {
        plugin->problem = error.what();
      }
    }
  }

  void check_torch(const Plugin& plugin, std::string_view version) {
    if (version.empty() || torch.empty() || version == torch) return;
    throw PluginError(
        fmt::format("{}: it was built with LibTorch {}, but {} is loaded with LibTorch {}; "
                    "build both with the same LibTorch",
                    plugin.library.string(), version, torch_owner, torch));
  }

  // Throws PluginError; a plugin that failed once keeps failing with the same words.
  void load(Plugin& plugin) {
    if (!plugin.problem.empty()) throw PluginError(plugin.problem);
    if (plugin.loaded) return;
    try {
      open(plugin);
      plugin.loaded = true;
    } catch (const PluginError& error) {
      plugin.problem = error.what();
      throw;
    }
  }

  void open(Plugin& plugin) {
    const std::string path = plugin.library.string();
    const auto refuse = [&](const std::string& why) -> void {
      throw PluginError(path + ": " + why);
    };
    if (plugin.description) {  // what the description tells needs no loading of foreign code
      PluginManifest manifest = make_manifest("", "");
      manifest.abi = plugin.description->abi;
      const std::string toolchain =
          plugin.description->toolchain.substr(0, sizeof manifest.toolchain - 1);
      std::memset(manifest.toolchain, 0, sizeof manifest.toolchain);
      std::memcpy(manifest.toolchain, toolchain.data(), toolchain.size());
      if (const std::string problem = manifest_problem(manifest); !problem.empty()) refuse(problem);
      check_torch(plugin, plugin.description->torch);
    }

    boost::dll::shared_library* library = nullptr;
    try {
      library = &keep(boost::dll::shared_library(
          plugin.library, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local));
    } catch (const std::exception& error) {
      refuse("it cannot be loaded: " + loader_message(error.what()));
    }
    if (!library->has("dt2it_plugin_manifest"))
      refuse(fmt::format(
          "it is no dt2it plugin: the symbol dt2it_plugin_manifest is missing (this is SDK "
          "ABI {})",
          DT2IT_SDK_ABI));
    const PluginManifest& manifest = library->get<const PluginManifest>("dt2it_plugin_manifest");
    if (const std::string problem = manifest_problem(manifest); !problem.empty()) refuse(problem);
    if (manifest_text(manifest.name) != plugin.name)
      refuse(fmt::format("this plugin is named '{}', but it lies at '{}'",
                         manifest_text(manifest.name), plugin.name));
    check_torch(plugin, manifest_text(manifest.torch));
    if (!library->has("dt2it_plugin_register"))
      refuse("the symbol dt2it_plugin_register is missing");

    Collector collector;
    try {
      library->get<void(Registrar&)>("dt2it_plugin_register")(collector);
    } catch (const std::exception& error) {
      refuse(fmt::format("plugin {} threw while it registered: {}", plugin.name,
                         first_line(error.what())));
    } catch (...) {
      refuse(fmt::format("plugin {} threw something that is no std::exception while it registered",
                         plugin.name));
    }
    PluginDescription own = describe(manifest, collector.types);
    if (plugin.description) {
      if (const auto what = difference(*plugin.description, own))
        refuse(fmt::format("its description {} disagrees with it ({}); build the plugin again",
                           fs::path(plugin.library).replace_extension(".json").string(), *what));
    } else {
      plugin.description = std::move(own);
    }
    for (ComponentType& type : collector.types) {
      const Key key{type.kind, type.name};
      if (!plugin.types.emplace(key, std::move(type)).second)
        refuse(fmt::format("plugin {} registers {}/{} twice", plugin.name, key.first, key.second));
    }
    if (torch.empty() && !manifest_text(manifest.torch).empty()) {
      torch = manifest_text(manifest.torch);
      torch_owner = path;
    }
  }

  // Null when there is none. Throws PluginError when what bears the name is unusable.
  Item* item(std::string_view kind, std::string_view type) {
    const Key key{kind, type};
    auto found = items.find(key);
    if (found == items.end()) {
      describe_undescribed(kind);
      found = items.find(key);
    }
    if (found != items.end()) {
      if (!found->second.problem.empty()) throw PluginError(found->second.problem);
      return &found->second;
    }
    const auto place = by_place.find(key.first + "/" + key.second);
    if (place != by_place.end() && !place->second->problem.empty())
      throw PluginError(place->second->problem);
    return nullptr;
  }
};

PluginRegistry::PluginRegistry(std::vector<fs::path> search_path)
    : state_(std::make_unique<State>()) {
  std::set<fs::path> seen;
  std::size_t rank = 0;
  for (const fs::path& folder : search_path) {
    const fs::path whole = fs::absolute(folder).lexically_normal();
    if (seen.insert(whole).second) state_->scan(whole, rank++);
  }
}

PluginRegistry::~PluginRegistry() = default;

std::vector<fs::path> PluginRegistry::default_search_path(
    const std::vector<std::string>& command_line) {
  std::vector<fs::path> result(command_line.begin(), command_line.end());
  if (const char* variable = std::getenv("DT2IT_PLUGIN_PATH")) {
    std::string_view rest = variable;
    while (!rest.empty()) {
      const std::size_t colon = rest.find(':');
      if (const std::string_view part = rest.substr(0, colon); !part.empty())
        result.emplace_back(part);
      rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
    }
  }
  const fs::path program = boost::dll::program_location();
  result.push_back(
      (program.parent_path().parent_path() / "lib" / "dt2it" / "plugins").lexically_normal());
  return result;
}

const ComponentDescription* PluginRegistry::find(std::string_view kind,
                                                 std::string_view type) const {
  std::lock_guard lock(state_->mutex);
  const State::Item* item = state_->item(kind, type);
  return item ? &item->description : nullptr;
}

std::vector<const ComponentDescription*> PluginRegistry::of_kind(std::string_view kind) const {
  std::lock_guard lock(state_->mutex);
  state_->describe_undescribed(kind);
  std::vector<const ComponentDescription*> result;
  for (const auto& [key, item] : state_->items)
    if (key.first == kind) result.push_back(&item.description);
  return result;
}

std::vector<std::string> PluginRegistry::kinds() const {
  std::lock_guard lock(state_->mutex);
  std::set<std::string> result;
  for (const auto& [key, item] : state_->items) result.insert(key.first);
  for (const auto& plugin : state_->plugins) result.insert(plugin->kind);
  return {result.begin(), result.end()};
}

std::vector<std::string> PluginRegistry::problems() const {
  std::lock_guard lock(state_->mutex);
  std::vector<std::string> result;
  for (const auto& plugin : state_->plugins)
    if (!plugin->problem.empty()) result.push_back(plugin->problem);
  for (const auto& [key, item] : state_->items)
    if (!item.problem.empty()) result.push_back(item.problem);
  return result;
}

std::vector<std::string> PluginRegistry::loaded() const {
  std::lock_guard lock(state_->mutex);
  std::vector<std::string> result;
  for (const auto& plugin : state_->plugins)
    if (plugin->loaded) result.push_back(plugin->name);
  return result;
}

void PluginRegistry::add_builtin(ComponentDescription description) {
  std::lock_guard lock(state_->mutex);
  const Key key{description.kind, description.name};
  state_->items[key] = {std::move(description), nullptr, ""};
}

std::shared_ptr<void> PluginRegistry::make(std::string_view kind, std::string_view type,
                                           const Table& params, Context& context) {
  const ComponentType* component = nullptr;
  std::string prefix;
  {
    std::lock_guard lock(state_->mutex);
    State::Item* item = state_->item(kind, type);
    if (!item || !item->plugin) {
      std::vector<std::string> names;
      for (const auto& [key, one] : state_->items)
        if (key.first == kind && one.plugin) names.push_back(key.second);
      throw ConfigError(fmt::format("there is no {} type '{}'{}{}", kind, type,
                                    allowed_text(type, names), kPluginsElsewhere));
    }
    state_->load(*item->plugin);
    component = &item->plugin->types.at({std::string(kind), std::string(type)});
    prefix = "plugin " + item->plugin->name + ": ";
  }
  // Not under the lock: a constructor asks its context for further components.
  try {
    auto made = component->make(params, context);
    if (!made) throw PluginError(fmt::format("it made no {}/{}", kind, type));
    return made;
  } catch (...) {
    rethrow_with<PluginError>(prefix);
  }
}

}  // namespace dt2it
