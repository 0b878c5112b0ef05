// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "core/cli/verbs.hpp"
#include "core/plugin/reference.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;

int plugins(const Arguments& arguments) {
  CommonOptions common;
  std::vector<std::string> words;
  bool markdown = false;
  po::options_description options("options");
  options.add_options()("words", po::value(&words), "KIND or KIND/NAME")(
      "markdown", po::bool_switch(&markdown), "print the reference page of all plugins and stages")(
      "plugin-path", po::value(&common.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
  if (!parse(arguments, options, "words", "usage: dt2it plugins [KIND | KIND/NAME] [options]"))
    return 0;
  const Installation installation(common);
  const Catalog& catalog = installation.registry;
  if (markdown) {
    std::cout << reference_markdown(catalog);
    return 0;
  }
  if (words.empty()) {
    std::cout << component_list(catalog);
    return 0;
  }
  for (const std::string& word : words) {
    const std::size_t slash = word.find('/');
    const std::string kind = word.substr(0, slash);
    if (catalog.of_kind(kind).empty()) {
      std::string kinds;
      for (const std::string& known : catalog.kinds()) kinds += (kinds.empty() ? "" : ", ") + known;
      throw ConfigError("no plugins of kind '" + kind + "' (there are: " + kinds + ")");
    }
    if (slash == std::string::npos) {
      for (const ComponentDescription* description : catalog.of_kind(kind))
        std::cout << component_help(*description) << '\n';
      continue;
    }
    const ComponentDescription* description = catalog.find(kind, word.substr(slash + 1));
    if (!description) {
      std::string names;
      for (const ComponentDescription* other : catalog.of_kind(kind))
        names += (names.empty() ? "" : ", ") + other->name;
      throw ConfigError("no plugin " + word + " (there are: " + names + ")");
    }
    std::cout << component_help(*description);
  }
  return 0;
}

}  // namespace dt2it::cli
