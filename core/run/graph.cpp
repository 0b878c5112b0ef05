// SPDX-License-Identifier: Apache-2.0
#include "core/run/graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/util/sha256.hpp"
#include "core/util/value_text.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

constexpr std::string_view kStagePrefix = "stage:";
// Bumped when the meaning of keys themselves changes.
constexpr std::string_view kKeyFormat = "dt2it-key-1";

std::string at(const Location& where) {
  return fmt::format("{}:{}:{}: ", where.file, where.line, where.column);
}

// Calls visit(spec, text) for every string below a parameter: itself, or the elements of a list.
template <class Visit>
void for_each_text(const Table& params, const std::vector<ParamSpec>& specs, const Visit& visit) {
  for (const ParamSpec& spec : specs) {
    const auto it = params.find(spec.name);
    if (it == params.end()) continue;
    if (const auto* text = std::get_if<std::string>(&it->second.data)) {
      if (!text->empty()) visit(spec, *text);
    } else if (const auto* list = std::get_if<List>(&it->second.data)) {
      for (const Value& item : *list)
        if (const auto* element = std::get_if<std::string>(&item.data)) visit(spec, *element);
    }
  }
}

// Replaces every string of a parameter that is not empty: itself, or the elements of a list.
void replace_texts(Value& value, const std::function<std::string(const std::string&)>& replace) {
  const auto change = [&](Value& one) {
    if (auto* text = std::get_if<std::string>(&one.data); text && !text->empty())
      *text = replace(*text);
  };
  if (auto* list = std::get_if<List>(&value.data))
    for (Value& item : *list) change(item);
  else
    change(value);
}

class Planner {
 public:
  Planner(const Experiment& experiment, const StageTypes& types, const Catalog& catalog,
          Fingerprints* fingerprints)
      : experiment_(experiment), types_(types), catalog_(catalog), fingerprints_(fingerprints) {}

  StageGraph plan() {
    for (const StageConfig& config : experiment_.stages) expand(config, 0);
    for (PlannedStage& stage : expanded_) reach(stage);
    StageGraph graph;
    for (const PlannedStage& stage : expanded_) place(stage.config.name, graph);
    return graph;
  }

 private:
  void expand(const StageConfig& config, int depth) {
    const auto it = types_.find(config.type);
    if (it == types_.end())
      throw ConfigError(at(config.where) + "no stage type '" + config.type + "'");
    if (depth > 8) throw ConfigError(at(config.where) + "stages expand without end");
    if (it->second.expand) {
      for (StageConfig& part : it->second.expand(config, experiment_)) {
        // As if it stood in a file: parts that say the same have the same key.
        if (const auto type = types_.find(part.type); type != types_.end())
          for (const ParamSpec& spec : type->second.description.params)
            if (spec.fallback) part.params.try_emplace(spec.name, spec.fallback);
        expand(part, depth + 1);
      }
      return;
    }
    for (const PlannedStage& other : expanded_)
      if (other.config.name == config.name)
        throw ConfigError(at(config.where) + "two stages are named '" + config.name + "'");
    expanded_.push_back({config, &it->second, {}, {}, {}, {}});
  }

  // Inputs and components of a stage, components in the order in which they are found.
  void reach(PlannedStage& stage) {
    std::set<std::string> inputs;
    std::vector<std::pair<std::string, std::string>> todo;  // kind, name
    auto scan = [&](const Table& params, const std::vector<ParamSpec>& specs) {
      for_each_text(params, specs, [&](const ParamSpec& spec, const std::string& text) {
        if (spec.component_kind == StageInputs::kKind)
          inputs.insert(text);
        else if (!spec.component_kind.empty())
          todo.emplace_back(spec.component_kind, text);
        else if (spec.path && text.starts_with(kStagePrefix))
          inputs.insert(text.substr(kStagePrefix.size()));
      });
    };
    scan(stage.config.params, stage.type->description.params);
    for (std::size_t next = 0; next < todo.size(); ++next) {
      const auto [kind, name] = todo[next];
      const auto seen = [&](const ComponentConfig& c) { return c.kind == kind && c.name == name; };
      if (std::any_of(stage.components.begin(), stage.components.end(), seen)) continue;
      const auto own = std::find_if(stage.config.with.begin(), stage.config.with.end(), seen);
      const ComponentConfig* component =
          own != stage.config.with.end() ? &*own : experiment_.component(kind, name);
      if (!component)
        throw ConfigError(at(stage.config.where) +
                          fmt::format("no [{}.{}] is defined", kind, name));
      const ComponentDescription* description = catalog_.find(kind, component->type);
      if (!description)
        throw ConfigError(at(component->where) +
                          fmt::format("no plugin offers {}/{}", kind, component->type));
      stage.components.push_back(*component);
      scan(component->params, description->params);
    }
    if (!stage.config.gate.empty()) inputs.insert(stage.config.gate);
    stage.inputs.assign(inputs.begin(), inputs.end());
  }

  void place(const std::string& name, StageGraph& graph) {
    if (graph.find(name)) return;
    const auto it =
        std::find_if(expanded_.begin(), expanded_.end(),
                     [&](const PlannedStage& stage) { return stage.config.name == name; });
    if (it == expanded_.end()) throw ConfigError("no stage is named '" + name + "'");
    if (!open_.insert(name).second)
      throw ConfigError(at(it->config.where) + "stage '" + name + "' needs its own result");
    for (const std::string& input : it->inputs) {
      const bool known = std::any_of(expanded_.begin(), expanded_.end(),
                                     [&](const PlannedStage& s) { return s.config.name == input; });
      if (!known)
        throw ConfigError(at(it->config.where) + "stage '" + name + "' reads stage '" + input +
                          "', which there is not");
      place(input, graph);
    }
    PlannedStage stage = *it;
    if (fingerprints_) {
      const Value identity{identity_of(stage, graph)};
      stage.key = sha256_hex(canonical(identity)).substr(0, 32);
      stage.identity = to_json(identity);
    }
    graph.stages.push_back(std::move(stage));
    open_.erase(name);
  }

  Table identity_of(const PlannedStage& stage, const StageGraph& graph) {
    Table key;
    const ComponentDescription& description = stage.type->description;
    key["format"] = {std::string(kKeyFormat)};
    key["type"] = {stage.config.type};
    key["version"] = {description.version};
    key["seed"] = {static_cast<std::int64_t>(experiment_.seed)};
    key["params"] = {
        keyed(stage.config.params, description.params, graph, {.names = stage.type->names_inputs})};
    Table components;
    for (const ComponentConfig& component : stage.components) {
      const ComponentDescription* type = catalog_.find(component.kind, component.type);
      Table entry;
      entry["type"] = {component.type};
      entry["plugin"] = {type->plugin + " " + type->version};
      entry["params"] = {
          keyed(component.params, type->params, graph, {.data = component.kind == Dataset::kKind})};
      components[component.kind + "." + component.name] = {std::move(entry)};
    }
    key["components"] = {std::move(components)};
    if (!stage.config.gate.empty()) key["gate"] = {graph.find(stage.config.gate)->key};
    return key;
  }

  struct Keying {
    bool data = false;   // paths are those of a data set
    bool names = false;  // what stages are called counts
  };
  // Parameters with stages replaced by their keys and paths by fingerprints.
  Table keyed(const Table& params, const std::vector<ParamSpec>& specs, const StageGraph& graph,
              Keying keying) {
    Table result = replace_paths(params, specs, [&](const std::string& text) -> std::string {
      if (text.starts_with(kStagePrefix))
        return "stage " + graph.find(text.substr(kStagePrefix.size()))->key;
      return keying.data ? fingerprints_->of_data(text) : fingerprints_->of(text);
    });
    for (const ParamSpec& spec : specs) {
      if (spec.component_kind != StageInputs::kKind) continue;
      const auto it = result.find(spec.name);
      if (it == result.end()) continue;
      replace_texts(it->second, [&](const std::string& name) {
        const std::string& key = graph.find(name)->key;
        return keying.names ? name + " " + key : key;
      });
    }
    return result;
  }

  const Experiment& experiment_;
  const StageTypes& types_;
  const Catalog& catalog_;
  std::vector<PlannedStage> expanded_;
  std::set<std::string> open_;
  Fingerprints* const fingerprints_;
};

}  // namespace

std::set<std::string> accelerators_of(const PlannedStage& stage, bool present) {
  std::set<std::string> devices;
  for (const ComponentConfig& component : stage.components) {
    const auto it = component.params.find("device");
    if (it == component.params.end()) continue;
    const auto* device = std::get_if<std::string>(&it->second.data);
    if (!device || device->empty() || *device == "cpu" || (*device == "auto" && !present)) continue;
    devices.insert(*device == "auto" || *device == "cuda" ? "cuda:0" : *device);
  }
  return devices;
}

const PlannedStage* StageGraph::find(std::string_view name) const {
  for (const PlannedStage& stage : stages)
    if (stage.config.name == name) return &stage;
  return nullptr;
}

Table replace_paths(Table params, const std::vector<ParamSpec>& specs,
                    const std::function<std::string(const std::string&)>& replace) {
  for (const ParamSpec& spec : specs) {
    const auto it = params.find(spec.name);
    if (!spec.path || it == params.end()) continue;
    replace_texts(it->second, replace);
  }
  return params;
}

StageGraph plan_stages(const Experiment& experiment, const StageTypes& types,
                       const Catalog& catalog, Fingerprints* fingerprints) {
  return Planner(experiment, types, catalog, fingerprints).plan();
}

}  // namespace dt2it
