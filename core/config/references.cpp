// SPDX-License-Identifier: Apache-2.0
#include "core/config/references.hpp"

#include <fmt/core.h>

#include <functional>
#include <map>
#include <set>
#include <utility>

#include "core/config/suggest.hpp"

namespace dt2it {
namespace {

using Key = std::pair<std::string, std::string>;  // kind, name

// A composite stage expands into parts named STAGE.PART, which may be named as inputs.
std::string stage_of(const std::string& name) { return name.substr(0, name.find('.')); }

Key key_of(const Reference& reference) {
  return {reference.kind, reference.kind == "stages" ? stage_of(reference.name) : reference.name};
}

struct Edge {
  Key to;
  Location at;
};
using Graph = std::map<Key, std::vector<Edge>>;

// Reports each cycle once, at the reference that closes it.
void report_cycles(const Graph& graph, const std::function<std::string(const Key&)>& label,
                   std::string_view what, Diagnostics& diagnostics,
                   std::set<std::string>& reported) {
  enum class Mark { fresh, open, done };
  std::map<Key, Mark> marks;
  std::vector<Key> path;
  const auto visit = [&](auto& self, const Key& node) -> void {
    marks[node] = Mark::open;
    path.push_back(node);
    if (const auto found = graph.find(node); found != graph.end()) {
      for (const Edge& edge : found->second) {
        const Mark mark = marks[edge.to];
        if (mark == Mark::fresh) {
          self(self, edge.to);
        } else if (mark == Mark::open) {
          std::size_t start = path.size();
          while (start > 0 && path[start - 1] != edge.to) --start;
          std::string text;
          for (std::size_t i = start - 1; i < path.size(); ++i) text += label(path[i]) + " -> ";
          text += label(edge.to);
          if (reported.insert(text).second)
            diagnostics.add(edge.at, fmt::format("{} form a cycle: {}", what, text));
        }
      }
    }
    path.pop_back();
    marks[node] = Mark::done;
  };
  for (const auto& [node, edges] : graph)
    if (marks[node] == Mark::fresh) visit(visit, node);
}

class ReferenceCheck {
 public:
  ReferenceCheck(const std::vector<CheckedComponent>& components,
                 const std::vector<CheckedStage>& stages, const std::vector<Declared>& declared,
                 Diagnostics& diagnostics)
      : stages_(stages), diagnostics_(diagnostics) {
    for (const Declared& one : declared)
      names_[one.kind].push_back(one.name), declared_.insert({one.kind, one.name});
    for (const CheckedComponent& component : components)
      base_[{component.kind, component.name}] = &component;
  }

  void run() {
    for (const auto& [key, component] : base_) existence(*component);
    for (const CheckedStage& stage : stages_) {
      existence(stage.own);
      for (const CheckedComponent& component : stage.with) existence(component);
    }
    cycles();
  }

 private:
  using View = std::map<Key, const CheckedComponent*>;

  void existence(const CheckedComponent& component) {
    for (const Reference& reference : component.references) {
      const Key key = key_of(reference);
      if (declared_.contains(key)) continue;
      std::string hint;
      for (const auto& [kind, names] : names_)
        if (kind != reference.kind && declared_.contains({kind, reference.name}))
          hint += fmt::format("; {} is of another kind", header_of(kind, reference.name));
      diagnostics_.add(reference.at,
                       fmt::format("'{}' names {}, which does not exist{}{}", reference.parameter,
                                   header_of(key.first, key.second), hint,
                                   allowed_text(key.second, names_[key.first])));
    }
  }

  static Graph component_graph(const View& view) {
    Graph graph;
    for (const auto& [key, component] : view)
      for (const Reference& reference : component->references)
        if (reference.kind != "stages") graph[key].push_back({key_of(reference), reference.at});
    return graph;
  }

  void cycles() {
    const auto header = [](const Key& key) { return header_of(key.first, key.second); };
    std::set<std::string> reported;
    report_cycles(component_graph(base_), header, "components", diagnostics_, reported);

    Graph stage_graph;
    for (const CheckedStage& stage : stages_) {
      View view = base_;
      for (const CheckedComponent& component : stage.with)
        view[{component.kind, component.name}] = &component;
      if (!stage.with.empty())
        report_cycles(component_graph(view), header, "components", diagnostics_, reported);
      // A stage depends on what its parameters name and on what the components that it reaches name.
      std::vector<Edge>& edges = stage_graph[{"stages", stage.own.name}];
      std::set<Key> seen;
      const auto collect = [&](auto& self, const CheckedComponent& component) -> void {
        for (const Reference& reference : component.references) {
          const Key key = key_of(reference);
          if (reference.kind == "stages") {
            edges.push_back({key, reference.at});
          } else if (seen.insert(key).second) {
            if (const auto found = view.find(key); found != view.end()) self(self, *found->second);
          }
        }
      };
      collect(collect, stage.own);
    }
    report_cycles(
        stage_graph, [](const Key& key) { return key.second; }, "stages", diagnostics_, reported);
  }

  const std::vector<CheckedStage>& stages_;
  Diagnostics& diagnostics_;
  std::map<std::string, std::vector<std::string>> names_;
  std::set<Key> declared_;
  View base_;
};

}  // namespace

void check_references(const std::vector<CheckedComponent>& components,
                      const std::vector<CheckedStage>& stages,
                      const std::vector<Declared>& declared, Diagnostics& diagnostics) {
  ReferenceCheck(components, stages, declared, diagnostics).run();
}

}  // namespace dt2it
