// SPDX-License-Identifier: Apache-2.0
#include "core/config/experiment.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "core/config/component_check.hpp"
#include "core/config/installed_file.hpp"
#include "core/config/references.hpp"
#include "core/config/resolved.hpp"
#include "core/config/suggest.hpp"
#include "core/config/toml_tree.hpp"

namespace dt2it {
namespace fs = std::filesystem;
namespace {

// The kinds of the SDK; a plugin may bring others.
constexpr const char* kKinds[] = {"datasets",  "mllms",     "judges",        "scorers",
                                  "diversity", "backbones", "reward_models", "reformulators",
                                  "curators",  "trainers",  "benchmarks",    "answer_benchmarks",
                                  "codecs"};

// Sizes and rates of a profile, which `dt2it plan` reads by itself (plan_facts.hpp).
constexpr std::string_view kPlan = "plan";

constexpr std::string_view kOwnKeys[] = {"paper", "about", "expect", "rows"};  // not inherited

bool is_own_key(std::string_view key) {
  return std::ranges::find(kOwnKeys, key) != std::end(kOwnKeys);
}

bool number_in(std::string_view text) {
  const auto value = parse_toml_value(text, {});
  return value && (value->type == TomlNode::Type::integer || value->type == TomlNode::Type::number);
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

class Loader {
 public:
  Loader(const fs::path& file, const LoadOptions& options, const Catalog& catalog)
      : file_(file.lexically_normal()),
        options_(options),
        catalog_(catalog),
        cache_(options.cache ? options.cache : std::make_shared<TomlCache>()) {}

  Experiment load(Diagnostics& diagnostics) {
    experiment_.file = file_;
    experiment_.profile = options_.profile;
    experiment_.name = name_of_file();
    if (read_layers()) {
      check_top_level();
      read_head();
      check_tables();
      experiment_.resolved = resolved_text(experiment_, merged_);
    }
    sort_errors();
    for (auto& error : errors_.errors) diagnostics.errors.push_back(std::move(error));
    return std::move(experiment_);
  }

 private:
  std::string name_of_file() const {
    const fs::path whole = fs::absolute(file_).lexically_normal().replace_extension();
    fs::path name = whole.filename();
    fs::path below;
    for (fs::path folder = whole; folder.has_relative_path(); folder = folder.parent_path()) {
      if (folder.filename() == "experiments" && folder != whole) return below.string();
      below = below.empty() ? folder.filename() : folder.filename() / below;
    }
    return name.string();
  }

  // The chain that ends in `file`, the file first. `files_` is the order in which errors are
  // listed.
  bool read_chain(const fs::path& file, Location asked_from,
                  std::vector<std::shared_ptr<const TomlNode>>& chain) {
    std::vector<std::string> seen;
    for (fs::path at = file; !at.empty();) {
      files_.push_back(at.string());
      auto tree = cache_->read(at, asked_from, errors_);
      if (!tree) return false;
      chain.push_back(tree);
      std::error_code ignored;
      seen.push_back(fs::weakly_canonical(at, ignored).string());
      const TomlNode* parent = tree->find("extends");
      if (!parent) break;
      asked_from = parent->at.location();
      if (parent->type != TomlNode::Type::string) {
        errors_.add(asked_from,
                    fmt::format("'extends' is {} (a string is expected: one parent file, "
                                "relative to this one)",
                                dt2it::name_of(parent->type)));
        return false;
      }
      const auto text = expand_variables(*parent, errors_);
      if (!text) return false;
      at = parent_file(at, *text);
      if (text->empty() || at.extension() != ".toml") {
        errors_.add(
            asked_from,
            fmt::format("'extends' cannot be '{}' (allowed: the path of a .toml file)", *text));
        return false;
      }
      const std::string real = fs::weakly_canonical(at, ignored).string();
      if (const auto found = std::ranges::find(seen, real); found != seen.end()) {
        std::string text_of_cycle;
        const auto first = chain.begin() + (found - seen.begin());
        for (auto one = first; one != chain.end(); ++one)
          text_of_cycle += (*one)->at.source->display + " -> ";
        errors_.add(asked_from, fmt::format("'extends' forms a cycle: {}{}", text_of_cycle,
                                            (*first)->at.source->display));
        return false;
      }
    }
    return true;
  }

  bool read_layers() {
    std::vector<std::shared_ptr<const TomlNode>> files, profiles;
    bool good = read_chain(file_, {file_.string(), 0, 0}, files);
    if (!options_.profile.empty()) {
      const bool is_path =
          options_.profile.ends_with(".toml") || options_.profile.find('/') != std::string::npos;
      const fs::path profile =
          is_path ? fs::path(options_.profile).lexically_normal()
                  : (options_.profiles_folder / (options_.profile + ".toml")).lexically_normal();
      std::error_code ignored;
      if (!is_path && !fs::is_regular_file(profile, ignored)) {
        std::vector<std::string> known;
        for (fs::directory_iterator it(options_.profiles_folder, ignored), end; it != end;
             it.increment(ignored))
          if (it->path().extension() == ".toml") known.push_back(it->path().stem().string());
        std::ranges::sort(known);
        errors_.add(
            {"--profile " + options_.profile, 0, 0},
            fmt::format("there is no profile '{}' in {}{}", options_.profile,
                        options_.profiles_folder.string(), allowed_text(options_.profile, known)));
        good = false;
      } else {
        good = read_chain(profile, {"--profile " + options_.profile, 0, 0}, profiles) && good;
      }
    }
    const TomlNode settings = read_settings();
    if (!good) return false;

    for (auto layer = profiles.rbegin(); layer != profiles.rend(); ++layer)
      add_layer(**layer, false);
    for (auto layer = files.rbegin(); layer != files.rend(); ++layer)
      add_layer(**layer, *layer == files.front());
    add_layer(settings, true);
    return true;
  }

  void add_layer(const TomlNode& layer, bool own) {
    TomlNode copy = layer;
    std::erase_if(copy.table, [](const TomlEntry& entry) { return entry.key == "extends"; });
    if (TomlNode* head = own ? nullptr : copy.find("experiment"))
      std::erase_if(head->table, [](const TomlEntry& entry) { return is_own_key(entry.key); });
    merge_toml(merged_, copy);
  }

  TomlNode read_settings() {
    TomlNode settings;
    for (const std::string& setting : options_.settings) {
      const std::size_t equals = setting.find('=');
      const std::string key(trimmed(setting.substr(0, equals)));
      auto source = std::make_shared<TomlSource>();
      source->display = "--set " + key;
      source->folder = fs::current_path();
      const Place at{source, 0, 0};
      files_.push_back(source->display);
      // The key in TOML's own syntax, so that quoted parts may hold dots.
      const auto path =
          equals == std::string::npos ? std::nullopt : parse_toml_value("{" + key + " = 0}", at);
      if (!path || key.empty() || key.find_first_of("\n{}=,") != std::string::npos) {
        errors_.add({"--set " + setting, 0, 0}, "not understood (allowed: a.b.c=VALUE)");
        continue;
      }
      const std::string text(trimmed(std::string_view(setting).substr(equals + 1)));
      auto value = parse_toml_value(text, at);
      if (!value) {
        value.emplace();
        value->type = TomlNode::Type::string;
        value->string = text;
        value->at = at;
      }
      TomlNode layer = *path;
      TomlNode* leaf = &layer;
      while (leaf->is_table()) leaf = &leaf->table.front().value;
      *leaf = std::move(*value);
      if (layer.table.front().key == "extends") {
        errors_.add(at.location(), "'extends' can only be written in a file");
        continue;
      }
      merge_toml(settings, layer);
    }
    return settings;
  }

  std::vector<std::string> kinds() const {
    std::set<std::string> all(std::begin(kKinds), std::end(kKinds));
    for (std::string& kind : catalog_.kinds()) all.insert(std::move(kind));
    all.erase("stages");
    return {all.begin(), all.end()};
  }

  void check_top_level() {
    std::erase_if(merged_.table, [](const TomlEntry& entry) {
      return entry.key == kPlan && entry.value.is_table();
    });
    std::vector<std::string> allowed = {"extends", "experiment", "stages"};
    for (std::string& kind : kinds()) allowed.push_back(std::move(kind));
    std::erase_if(merged_.table, [&](const TomlEntry& entry) {
      if (std::ranges::find(allowed, entry.key) == allowed.end()) {
        errors_.add(entry.at.location(),
                    fmt::format("unknown {} '{}'{}", entry.value.is_table() ? "table" : "key",
                                entry.key, allowed_text(entry.key, allowed)));
        return true;
      }
      if (!entry.value.is_table()) {
        errors_.add(entry.value.at.location(),
                    fmt::format("'{}' is {} (a table is expected)", entry.key,
                                dt2it::name_of(entry.value.type)));
        return true;
      }
      return false;
    });
  }

  void wrong(const TomlEntry& entry, std::string_view wanted) {
    errors_.add(entry.value.at.location(), fmt::format("'{}' is {} ({} is expected)", entry.key,
                                                       dt2it::name_of(entry.value.type), wanted));
  }

  void read_head() {
    const TomlNode* head = merged_.find("experiment");
    if (!head) return;
    for (const TomlEntry& entry : head->table) {
      const TomlNode& value = entry.value;
      if (entry.key == "paper" || entry.key == "about") {
        if (value.type != TomlNode::Type::string) {
          wrong(entry, "a string");
        } else if (auto text = expand_variables(value, errors_)) {
          (entry.key == "paper" ? experiment_.paper : experiment_.about) = std::move(*text);
        }
      } else if (entry.key == "seed") {
        if (value.type != TomlNode::Type::integer)
          wrong(entry, "an integer");
        else if (value.integer < 0)
          errors_.add(
              value.at.location(),
              fmt::format("'seed' is {}, out of range (allowed: at least 0)", value.integer));
        else
          experiment_.seed = static_cast<std::uint64_t>(value.integer);
      } else if (entry.key == "seeds") {
        const auto good = [](const TomlNode& seed) {
          return seed.type == TomlNode::Type::integer && seed.integer >= 0;
        };
        if (value.type != TomlNode::Type::list || value.list.empty() ||
            !std::all_of(value.list.begin(), value.list.end(), good)) {
          wrong(entry, "a list of integers, at least 0");
          continue;
        }
        for (const TomlNode& seed : value.list)
          experiment_.seeds.push_back(static_cast<std::uint64_t>(seed.integer));
      } else if (entry.key == "expect") {
        if (!value.is_table()) {
          wrong(entry, "a table of \"metric\" = \"OP TARGET\"");
          continue;
        }
        for (const TomlEntry& promise : value.table) read_promise(promise);
      } else if (entry.key == "rows") {
        if (value.type != TomlNode::Type::list) {
          wrong(entry, "a list of files");
          continue;
        }
        for (const TomlNode& row : value.list) read_row(row);
      } else {
        errors_.add(entry.at.location(),
                    fmt::format("unknown key '{}' in [experiment]{}", entry.key,
                                allowed_text(entry.key, {"paper", "about", "seed", "seeds",
                                                         "expect", "rows"})));
      }
    }
  }

  void read_promise(const TomlEntry& promise) {
    const TomlNode& value = promise.value;
    const auto refuse = [&](const std::string& why) {
      errors_.add(
          value.at.location(),
          fmt::format("expect of '{}': {} (allowed: \"OP TARGET\", OP one of >= <= > < ==, TARGET "
                      "a number, or a row beside this file with an optional + or - NUMBER)",
                      promise.key, why));
    };
    if (value.type != TomlNode::Type::string)
      return refuse(fmt::format("it is {}", dt2it::name_of(value.type)));
    const auto text = expand_variables(value, errors_);
    if (!text) return;
    std::string_view rest = trimmed(*text);
    std::size_t length = 0;
    for (std::string_view op : {">=", "<=", "==", ">", "<"})
      if (!length && rest.starts_with(op)) length = op.size();
    if (!length) return refuse(fmt::format("'{}' starts with no comparison", *text));
    rest = trimmed(rest.substr(length));
    if (rest.empty()) return refuse("there is nothing to compare with");
    if (!number_in(rest)) {
      std::string_view row = rest.substr(0, rest.find_first_of(" \t"));
      const std::string_view offset = trimmed(rest.substr(row.size()));
      if (!offset.empty() &&
          ((offset[0] != '+' && offset[0] != '-') || !number_in(trimmed(offset.substr(1)))))
        return refuse(fmt::format("'{}' is neither a number nor a row with an offset", rest));
      std::error_code ignored;
      const fs::path file = value.at.source->folder / (std::string(row) + ".toml");
      if (!fs::is_regular_file(file, ignored))
        return refuse(
            fmt::format("there is no row '{}': no file {}.toml beside this one", row, row));
    }
    experiment_.expect[promise.key] = std::string(trimmed(*text));
  }

  void read_row(const TomlNode& row) {
    if (row.type != TomlNode::Type::string) {
      errors_.add(row.at.location(),
                  fmt::format("a row is {} (a string is expected: the path of a .toml "
                              "file)",
                              dt2it::name_of(row.type)));
      return;
    }
    const auto text = expand_variables(row, errors_);
    if (!text) return;
    const fs::path file = (row.at.source->folder / *text).lexically_normal();
    std::error_code ignored;
    if (text->empty() || !fs::is_regular_file(file, ignored))
      errors_.add(row.at.location(),
                  fmt::format("there is no row '{}' (relative to this file)", *text));
    else
      experiment_.rows.push_back(file);
  }

  static ComponentConfig config_of(const CheckedComponent& checked) {
    return {checked.kind, checked.name, checked.type, checked.params, checked.where, checked.given};
  }

  void check_tables() {
    std::vector<CheckedComponent> components;
    std::vector<CheckedStage> stages;
    std::vector<Declared> declared;
    for (const TomlEntry& kind : merged_.table) {
      if (kind.key == "experiment") continue;
      for (const TomlEntry& entry : kind.value.table) {
        declared.push_back({kind.key, entry.key});
        if (kind.key == "stages")
          stages.push_back({check_component("stages", entry, entry.key, catalog_, errors_), {}});
        else
          components.push_back(check_component(kind.key, entry, "", catalog_, errors_));
        if (kind.key == "stages") check_with(entry, stages.back());
      }
    }
    check_references(components, stages, declared, errors_);
    for (const CheckedComponent& one : components) experiment_.components.push_back(config_of(one));
    for (const CheckedStage& one : stages) {
      StageConfig& stage = experiment_.stages.emplace_back();
      stage.name = one.own.name;
      stage.type = one.own.type;
      stage.params = one.own.params;
      stage.where = one.own.where;
      stage.given = one.own.given;
      for (const CheckedComponent& with : one.with) stage.with.push_back(config_of(with));
    }
  }

  // [stages.NAME.with.KIND.NAME]: the base component with these keys changed, checked as a whole.
  void check_with(const TomlEntry& stage, CheckedStage& result) {
    const TomlEntry* with = stage.value.is_table() ? stage.value.entry("with") : nullptr;
    if (!with) return;
    if (!with->value.is_table()) return wrong(*with, "a table of KIND.NAME");
    const std::vector<std::string> known = kinds();
    for (const TomlEntry& kind : with->value.table) {
      if (std::ranges::find(known, kind.key) == known.end()) {
        errors_.add(kind.at.location(),
                    fmt::format("unknown kind '{}' in [stages.{}.with]{}", kind.key, stage.key,
                                allowed_text(kind.key, known)));
        continue;
      }
      if (!kind.value.is_table()) {
        wrong(kind, "a table of components");
        continue;
      }
      const TomlNode* bases = merged_.find(kind.key);
      for (const TomlEntry& entry : kind.value.table) {
        const TomlEntry* base = bases ? bases->entry(entry.key) : nullptr;
        if (!base) {
          std::vector<std::string> names;
          if (bases)
            for (const TomlEntry& one : bases->table) names.push_back(one.key);
          errors_.add(entry.at.location(),
                      fmt::format("there is no {} to change{}", header_of(kind.key, entry.key),
                                  allowed_text(entry.key, names)));
          continue;
        }
        if (!entry.value.is_table()) {
          wrong(entry, "a table");
          continue;
        }
        TomlEntry merged = *base;
        merge_component(merged.value, entry.value, "");
        merged.at = entry.at;
        result.with.push_back(check_component(kind.key, merged, "", catalog_, errors_));
      }
    }
  }

  // In file order: the file itself, its parents, the profile, --set; the same complaint only once
  // (a component changed by `with` is checked twice).
  void sort_errors() {
    const auto rank = [this](const Diagnostics::Entry& entry) {
      return std::ranges::find(files_, entry.where.file) - files_.begin();
    };
    auto& list = errors_.errors;
    std::stable_sort(list.begin(), list.end(), [&](const auto& a, const auto& b) {
      return std::tuple(rank(a), a.where.line, a.where.column) <
             std::tuple(rank(b), b.where.line, b.where.column);
    });
    const auto key = [](const Diagnostics::Entry& entry) {
      return std::tie(entry.where.file, entry.where.line, entry.where.column, entry.message);
    };
    std::vector<Diagnostics::Entry> unique;
    for (auto& entry : list)
      if (std::ranges::none_of(unique, [&](const auto& old) { return key(old) == key(entry); }))
        unique.push_back(std::move(entry));
    list = std::move(unique);
  }

  const fs::path file_;
  const LoadOptions& options_;
  const Catalog& catalog_;
  std::shared_ptr<TomlCache> cache_;
  Experiment experiment_;
  Diagnostics errors_;
  TomlNode merged_;
  std::vector<std::string> files_;
};

}  // namespace

std::string Diagnostics::Entry::text() const {
  if (where.line == 0) return fmt::format("{}: {}", where.file, message);
  return fmt::format("{}:{}:{}: {}", where.file, where.line, where.column, message);
}

std::string Diagnostics::text() const {
  std::string result;
  for (const Entry& entry : errors) result += entry.text() + "\n";
  return result;
}

const ComponentConfig* Experiment::component(std::string_view kind, std::string_view name) const {
  for (const ComponentConfig& one : components)
    if (one.kind == kind && one.name == name) return &one;
  return nullptr;
}

const StageConfig* Experiment::stage(std::string_view name) const {
  for (const StageConfig& one : stages)
    if (one.name == name) return &one;
  return nullptr;
}

std::shared_ptr<TomlCache> make_toml_cache() { return std::make_shared<TomlCache>(); }

Experiment load_experiment(const std::filesystem::path& file, const LoadOptions& options,
                           const Catalog& catalog, Diagnostics& diagnostics) {
  return Loader(file, options, catalog).load(diagnostics);
}

}  // namespace dt2it
