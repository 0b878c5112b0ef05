// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/reference.hpp"

#include <catch2/catch.hpp>

#include "core/plugin/registry.hpp"

namespace dt2it {
namespace {

ComponentDescription sample() {
  ComponentDescription component;
  component.kind = "judges";
  component.name = "sample";
  component.help = "A judge for this test.";
  component.plugin = "judges/sample";
  component.version = "2.1.0";
  ParamSpec ratio;
  ratio.name = "ratio";
  ratio.type = ParamType::number;
  ratio.fallback = Value{2.0};
  ratio.min = 1;
  ratio.max = 8;
  ratio.help = "How many times. " + std::string(40, 'x') + " " + std::string(40, 'y') + " end.";
  ParamSpec mode;
  mode.name = "mode";
  mode.choices = {"a|b", "c"};
  mode.required = true;
  mode.help = "Which way.";
  ParamSpec models;
  models.name = "models";
  models.list = true;
  models.component_kind = "mllms";
  models.fallback = Value{List{}};
  models.help = "Whom to ask.";
  component.params = {ratio, mode, models};
  return component;
}

}  // namespace

TEST_CASE("Terminal help of one component") {
  CHECK(component_help(sample()) ==
        "judges/sample  (plugin judges/sample 2.1.0)\n"
        "  A judge for this test.\n"
        "\n"
        "[judges.NAME]\n"
        "type = \"sample\"\n"
        "\n"
        "  ratio  number, 1 to 8; default: 2.0\n"
        "      How many times. xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
        "      yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy end.\n"
        "\n"
        "  mode  string, one of a|b, c; required\n"
        "      Which way.\n"
        "\n"
        "  models  list of names of [mllms.*]; default: []\n"
        "      Whom to ask.\n");
}

TEST_CASE("List and Markdown page") {
  PluginRegistry registry({});
  registry.add_builtin(sample());
  CHECK(component_list(registry) == "judges\n  sample  A judge for this test.\n");
  const std::string page = reference_markdown(registry);
  CHECK_THAT(page, Catch::Contains("\n## judges\n\n### judges/sample\n\nA judge for this test.\n"));
  CHECK_THAT(page, Catch::Contains("| `ratio` | number | 1 to 8 | `2.0` | How many times."));
  CHECK_THAT(page,
             Catch::Contains("| `mode` | string | one of a\\|b, c | required | Which way. |"));
  CHECK_THAT(page,
             Catch::Contains("| `models` | list of names of [mllms.*] |  | `[]` | Whom to ask. |"));
}

}  // namespace dt2it
