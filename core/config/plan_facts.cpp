// SPDX-License-Identifier: Apache-2.0
#include "core/config/plan_facts.hpp"

#include <fmt/format.h>

#include <functional>

#include "core/config/installed_file.hpp"
#include "core/config/toml_tree.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

PlanFacts PlanFacts::read(const std::filesystem::path& profile) {
  PlanFacts facts;
  facts.file_ = profile.string();
  TomlCache cache;
  Diagnostics diagnostics;
  const auto tree = cache.read(profile, {profile.string(), 0, 0}, diagnostics);
  if (!tree) throw ConfigError(diagnostics.text());
  if (const TomlNode* parent = tree->find("extends");
      parent && parent->type == TomlNode::Type::string) {
    const PlanFacts base = read(parent_file(profile, parent->string));
    facts.numbers_ = base.numbers_;
    facts.texts_ = base.texts_;
  }
  const TomlNode* plan = tree->find("plan");
  if (!plan) return facts;
  const std::function<void(const TomlNode&, const std::string&)> flatten =
      [&](const TomlNode& node, const std::string& name) {
        const Location where = node.at.location();
        if (node.is_table()) {
          for (const TomlEntry& entry : node.table)
            flatten(entry.value, name.empty() ? entry.key : name + "." + entry.key);
        } else if (node.type == TomlNode::Type::number || node.type == TomlNode::Type::integer) {
          const double number =
              node.type == TomlNode::Type::number ? node.number : static_cast<double>(node.integer);
          if (!(number >= 0))
            throw ConfigError(fmt::format("{}:{}:{}: '{}' is {} (allowed: 0 or more)", where.file,
                                          where.line, where.column, name, number));
          facts.numbers_[name] = number;
        } else if (node.type == TomlNode::Type::string) {
          facts.texts_[name] = node.string;
        } else {
          throw ConfigError(
              fmt::format("{}:{}:{}: '{}' is {} (numbers and strings are expected in [plan])",
                          where.file, where.line, where.column, name, name_of(node.type)));
        }
      };
  flatten(*plan, "");
  return facts;
}

double PlanFacts::number(const std::string& name) const {
  if (const auto found = numbers_.find(name); found != numbers_.end()) return found->second;
  const std::size_t dot = name.rfind('.');
  if (dot != std::string::npos)
    if (const auto found = numbers_.find(name.substr(0, dot) + ".default"); found != numbers_.end())
      return found->second;
  throw ConfigError(
      fmt::format("{}: [plan] does not state '{}' (a number is expected)", file_, name));
}

std::string PlanFacts::text(const std::string& name) const {
  const auto found = texts_.find(name);
  return found == texts_.end() ? std::string() : found->second;
}

}  // namespace dt2it
