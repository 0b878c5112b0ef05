// SPDX-License-Identifier: Apache-2.0
// TOML: a tree, or a message with a place; a value for --set.
#include <cstdlib>

#include "core/config/toml_tree.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dt2it;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto source = std::make_shared<TomlSource>();
  source->display = "fuzz.toml";
  Diagnostics diagnostics;
  const auto tree = parse_toml(text, source, diagnostics);
  if (!tree && diagnostics.ok()) std::abort();
  if (tree) {
    TomlNode twice = *tree;
    merge_toml(twice, *tree);
  }
  parse_toml_value(text.substr(0, text.find('\n')), {source, 0, 0});
  return 0;
}
