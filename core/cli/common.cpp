// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <set>
#include <utility>

#include "core/cli/verbs.hpp"
#include "core/config/component_check.hpp"
#include "core/config/installed_file.hpp"
#include "core/config/suggest.hpp"
#include "core/stages/stages.hpp"
#include "core/util/shell_word.hpp"
#include "dt2it/error.hpp"

void boost::validate(any& value, const std::vector<std::string>& texts,
                     std::filesystem::path* /*type*/, int) {
  program_options::validators::check_first_occurrence(value);
  value = std::filesystem::path(program_options::validators::get_single_string(texts));
}

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

std::atomic<bool> stop_requested{false};
VerbHelp* help_wanted = nullptr;  // --help is written into it, not printed

void on_signal(int) {
  if (stop_requested.exchange(true)) _exit(130);
  constexpr char kText[] =
      "\nstopping: finishing what is in flight and saving (press Ctrl-C again to stop at once)\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, kText, sizeof kText - 1);
}

}  // namespace

const std::atomic<bool>& catch_interrupts() {
  struct sigaction action{};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return stop_requested;
}

std::string command_line(const std::string& verb, const Arguments& arguments) {
  std::string command = "dt2it " + verb;
  for (const std::string& argument : arguments) command += ' ' + shell_word(argument);
  return command;
}

std::string text_setting(const std::string& key, const std::string& text) {
  std::string value = key + "=\"";
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (text.compare(at, 2, "${") == 0) value += '$';  // no variable
    value += c == '"' || c == '\\'                  ? std::string{'\\', c}
             : static_cast<unsigned char>(c) < 0x20 ? fmt::format("\\u{:04x}", static_cast<int>(c))
                                                    : std::string(1, c);
  }
  return value + '"';
}

ComponentConfig component_of(const Catalog& catalog, const std::string& kind,
                             const std::string& name, const std::string& text,
                             const std::vector<std::string>& settings) {
  const std::size_t colon = text.find(':');
  const std::string type = text.substr(0, colon);
  const ComponentDescription* description = catalog.find(kind, type);
  if (!description) {
    std::string names;
    for (const ComponentDescription* other : catalog.of_kind(kind))
      names += (names.empty() ? "" : ", ") + other->name;
    throw ConfigError(
        fmt::format("no {}/{} (there are: {}){}", kind, type, names, kPluginsElsewhere));
  }
  Diagnostics diagnostics;
  TomlEntry table;
  table.key = name;
  const auto add = [&](const std::string& key, const std::string& value, const std::string& display,
                       bool literal) {
    auto source = std::make_shared<TomlSource>();
    source->display = display;
    source->folder = fs::current_path();
    const Place at{source, 0, 0};
    auto node = literal ? std::nullopt : parse_toml_value(value, at);
    if (!node) {
      node.emplace();
      node->type = TomlNode::Type::string;
      node->string = value;
      node->at = at;
    }
    std::erase_if(table.value.table, [&](const TomlEntry& entry) { return entry.key == key; });
    table.value.table.push_back({key, at, std::move(*node)});
  };
  add("type", type, text, true);
  if (colon != std::string::npos) {
    const auto spec = std::find_if(description->params.begin(), description->params.end(),
                                   [](const ParamSpec& one) { return one.argument; });
    if (spec == description->params.end())
      throw ConfigError(fmt::format("{}/{} takes no argument after ':'", kind, type));
    add(spec->name, text.substr(colon + 1), text, spec->type == ParamType::string);
  }
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      throw ConfigError(fmt::format("--set {}: not understood (allowed: KEY=VALUE)", setting));
    add(setting.substr(0, equals), setting.substr(equals + 1), "--set " + setting.substr(0, equals),
        false);
  }
  CheckedComponent checked = check_component(kind, table, {}, catalog, diagnostics);
  if (!diagnostics.ok()) throw ConfigError(diagnostics.text());
  return {kind, name, type, std::move(checked.params), {}, std::move(checked.given)};
}

void add_common(po::options_description& options, CommonOptions& common) {
  options.add_options()(
      "profile", po::value(&common.profile)->value_name("NAME"),
      "profile under which the experiments are read: mini (default), paper, or a .toml file")(
      "set", po::value(&common.settings)->composing()->value_name("A.B=VALUE"),
      "replace a value of the experiments; may be given often")(
      "seeds", po::value(&common.seeds)->value_name("N,N,..."),
      "run each experiment with each of these seeds")(
      "runs", po::value(&common.runs)->value_name("DIR"), "where results are kept (default: runs)")(
      "plugin-path", po::value(&common.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
}

bool parse(const Arguments& arguments, po::options_description& options,
           const std::string& positional, const std::string& usage) {
  options.add_options()("help,h", po::bool_switch(), "this text");
  if (help_wanted) {
    help_wanted->usage = usage;
    help_wanted->words = !positional.empty();
    for (const auto& option : options.options()) {
      const std::string letter =
          option->canonical_display_name(po::command_line_style::allow_dash_for_short);
      help_wanted->options.push_back(
          {option->long_name(), letter.size() == 2 && letter[0] == '-' ? letter.substr(1) : "",
           option->semantic()->max_tokens() == 0 ? "" : option->format_parameter(),
           option->description()});
    }
    return false;
  }
  po::positional_options_description words;
  if (!positional.empty()) words.add(positional.c_str(), -1);
  po::variables_map values;
  po::store(po::command_line_parser(arguments).options(options).positional(words).run(), values);
  if (values["help"]
          .as<bool>()) {  // before notify(), which complains about what is required but missing
    std::cout << usage << "\n\n" << options;
    return false;
  }
  po::notify(values);
  return true;
}

VerbHelp help_of(const Verb& verb) {
  VerbHelp help;
  help_wanted = &help;
  verb.enter({"--help"});
  help_wanted = nullptr;
  return help;
}

fs::path output_folder(const fs::path& given) {
  const fs::path folder = given.has_filename() ? given : given.parent_path();
  const fs::path name = folder.filename();
  return name == "." || name == ".." ? fs::weakly_canonical(folder) : folder;
}

Installation::Installation(const CommonOptions& common)
    : stages(all_stages()), registry(PluginRegistry::default_search_path(common.plugin_path)) {
  for (const auto& [name, type] : stages) registry.add_builtin(type.description);
}

fs::path find_profiles(const fs::path& experiment) {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path().parent_path();
  // The experiment's own tree, then where the user stands, then where the program was built.
  for (const fs::path& start :
       {fs::absolute(experiment).parent_path(), fs::current_path(), program})
    for (fs::path folder = start; folder != folder.parent_path(); folder = folder.parent_path())
      if (fs::is_directory(folder / "configs" / "profiles")) return folder / "configs" / "profiles";
  const fs::path installed = program / "share/dt2it/configs/profiles";
  return fs::is_directory(installed) ? installed : fs::path("configs/profiles");
}

namespace {

std::vector<std::uint64_t> seeds_of(const std::string& text) {
  std::vector<std::uint64_t> seeds;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    std::uint64_t seed = 0;
    const auto [rest, error] = std::from_chars(text.data() + at, text.data() + end, seed);
    if (error != std::errc() || rest != text.data() + end)
      throw ConfigError(fmt::format(
          "--seeds is '{}' (numbers with commas between them are expected: 0,1,2)", text));
    seeds.push_back(seed);
    at = end + 1;
  }
  return seeds;
}

}  // namespace

std::vector<Experiment> load_all(const std::vector<std::string>& files, const CommonOptions& common,
                                 const Catalog& catalog) {
  if (files.empty()) throw ConfigError("no experiment file given");
  Diagnostics diagnostics;
  const auto cache = make_toml_cache();
  std::vector<Experiment> experiments;
  const std::vector<std::uint64_t> wanted = seeds_of(common.seeds);
  struct Todo {
    fs::path file;
    std::vector<std::uint64_t> seeds;  // of the file that lists it
  };
  std::vector<Todo> todo;
  for (const std::string& file : files) todo.push_back({file, {}});
  std::set<std::pair<std::string, std::uint64_t>>
      known;  // a row that is also listed by another file is one row
  const auto add = [&](Experiment experiment) {
    if (known.emplace(fs::weakly_canonical(experiment.file).string(), experiment.seed).second)
      experiments.push_back(std::move(experiment));
  };
  for (std::size_t i = 0; i < todo.size(); ++i) {
    const Todo at{installed_file(todo[i].file), todo[i].seeds};
    LoadOptions options{common.profile, find_profiles(at.file), common.settings, cache};
    Experiment experiment = load_experiment(at.file, options, catalog, diagnostics);
    const std::vector<std::uint64_t>& own = experiment.seeds.empty() ? at.seeds : experiment.seeds;
    std::vector<Todo> rows;  // in the place of the file that lists them
    for (const fs::path& row : experiment.rows) rows.push_back({row, own});
    todo.insert(todo.begin() + static_cast<std::ptrdiff_t>(i) + 1, rows.begin(), rows.end());
    if (todo.size() > 10000)
      throw ConfigError(at.file.string() + ": rows list each other without end");
    if (experiment.stages.empty()) continue;
    const std::vector<std::uint64_t> seeds = wanted.empty() ? own : wanted;
    const bool stated = std::any_of(
        common.settings.begin(), common.settings.end(),
        [](const std::string& setting) { return setting.starts_with("experiment.seed="); });
    if (seeds.empty() || stated) {
      add(std::move(experiment));
      continue;
    }
    for (const std::uint64_t seed : seeds) {
      LoadOptions with_seed = options;
      with_seed.settings.push_back("experiment.seed=" + std::to_string(seed));
      add(load_experiment(at.file, with_seed, catalog, diagnostics));
    }
  }
  if (!diagnostics.ok()) throw ConfigError(diagnostics.text());
  if (experiments.empty()) throw ConfigError("the given files define no stages");
  return experiments;
}

}  // namespace dt2it::cli
