// SPDX-License-Identifier: Apache-2.0
// The curator of docs/writing_a_plugin.md: files and commands are taken from the page, built
// against the installed SDK in another folder (install_sdk_template leaves it) and run in
// `iterate`. Blocks that begin with ```LANGUAGE NAME are files; ```sh NAME, commands.
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>

#include "core/data/records.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/docs/tool.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using docs_test::kSource;
using docs_test::read;

std::string named_block(const std::string& page, const std::string& opening) {
  const std::string mark = "\n```" + opening + "\n";
  const std::size_t at = page.find(mark);
  INFO("a block that begins with ```" << opening);
  REQUIRE(at != page.npos);
  REQUIRE(page.find(mark, at + 1) == page.npos);
  const std::size_t begin = at + mark.size();
  return page.substr(begin, page.find("\n```", begin) + 1 - begin);
}

std::string with(std::string text, const std::string& part, const std::string& other) {
  const std::size_t at = text.find(part);
  INFO(part << " in " << text);
  REQUIRE(at != text.npos);
  return text.replace(at, part.size(), other);
}

// As a user's shell, with `home` as the home folder.
void shell(const std::string& commands, const fs::path& home) {
  const fs::path script = home / "commands.sh", log = home / "log.txt";
  std::ofstream(script) << "set -e\nexport HOME='" << home.string()
                        << "'\nunset DT2IT_PLUGIN_PATH\nexport CXX='" DT2IT_TEST_CXX
                        << "' CXXFLAGS='" DT2IT_TEST_FLAGS
                           "' CMAKE_CXX_COMPILER_LAUNCHER='" DT2IT_TEST_LAUNCHER "'\n"
                        << "export CCACHE_DIR=\"${CCACHE_DIR:-"
                        << (std::getenv("HOME") ? std::getenv("HOME") : "") << "/.cache/ccache}\"\n"
                        << "cd '" << kSource.string() << "'\n"
                        << commands;
  const int status =
      std::system(("bash '" + script.string() + "' > '" + log.string() + "' 2>&1").c_str());
  INFO(read(log));
  REQUIRE(status == 0);
}

}  // namespace

TEST_CASE("the curator of the page is built from the page's text and runs in iterate") {
  if (!fs::exists(build_path("/lib/dt2it/plugins/trainers/native.so"))) {
    std::puts("skipped: iterate trains, which needs LibTorch (built with DT2IT_TORCH=OFF)");
    return;
  }
  const fs::path sdk = build_path("/install_test/sdk");
  REQUIRE(fs::exists(sdk));
  testing::TemporaryFolder temporary;
  const fs::path home = temporary.path(), folder = home / "second_opinion";
  fs::create_directory(folder);
  fs::create_directory_symlink(sdk, home / "dt2it-sdk");
  const std::string page = read(kSource / "docs/writing_a_plugin.md");
  for (const auto& [language, name] :
       {std::pair("cpp", "second_opinion_curator.cpp"), std::pair("cmake", "CMakeLists.txt")})
    std::ofstream(folder / name) << named_block(page, std::string(language) + " " + name);
  std::ofstream(folder / "round.toml") << named_block(page, "toml round.toml");

  shell(named_block(page, "sh second_opinion"), home);
  REQUIRE(fs::exists(folder / "build/plugins/curators/second_opinion.so"));
  shell(with(with(named_block(page, "sh round"), "build/dev/", build_path("/")), " run ",
             " run --runs ~/runs "),
        home);

  // The decisions on record are those that the page's code makes.
  const fs::path run = home / "runs/round";
  for (const char* stage : {"train.curated_1", "train.data_1"}) {
    INFO(stage);
    std::map<std::string, int> actions;
    JsonLineReader lines(run / "stages" / stage / "decisions.jsonl");
    for (simdjson::dom::element line; lines.next(line);) {
      if (line["curator"].get_string().value() != "second_opinion") continue;
      const std::string action(line["action"].get_string().value());
      ++actions[action];
      double strength = 0, chosen = 0, rejected = 0;
      REQUIRE(line["strength"].get(strength) == simdjson::SUCCESS);
      CHECK(line["strengths"].at(0).get_double().value() == strength);
      const bool asked = line["votes_chosen"].get(chosen) == simdjson::SUCCESS;
      REQUIRE((line["votes_rejected"].get(rejected) == simdjson::SUCCESS) == asked);
      CHECK(asked == (strength <= 0.2));
      if (!asked) {
        CHECK(action == "keep");
        continue;
      }
      CHECK(line["detail"]["verdicts"].get_array().value().size() == 2);
      if (action == "undecided") continue;
      CHECK(chosen + rejected == 2);
      CHECK(action == (chosen > rejected ? "keep" : chosen < rejected ? "flip" : "discard"));
    }
    CHECK(actions["keep"] > 10);
    CHECK(actions["flip"] > 0);
    CHECK(actions["discard"] > 0);
  }
  CHECK_THAT(read(home / "log.txt"),
             Catch::Contains("train.curated_1: rlaif_v") && Catch::Contains("Flips right, %"));
}

}  // namespace dt2it
