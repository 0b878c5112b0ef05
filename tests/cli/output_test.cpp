// SPDX-License-Identifier: Apache-2.0
// Folders that verbs write, however they are named.
#include <fstream>

#include "tests/cli/process.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

fs::path pairs_in(const testing::TemporaryFolder& folder) {
  std::string lines;
  for (int i = 0; i < 3; ++i)
    lines +=
        R"({"id":")" + std::to_string(i) +
        R"(","prompt":{"id":"q","messages":[{"role":"user","content":[{"type":"text","text":"Why?"}]}]},)"
        R"("chosen":{"text":"yes"},"rejected":{"text":"no"}})"
        "\n";
  return folder.write("pairs.jsonl", lines);
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// As --out says it, from the folder `work`.
const std::vector<std::string> kForms{"out",      "out/",   "out//", "./out/",
                                      "new/out/", "there/", ".",     "with a blank/out"};

}  // namespace

TEST_CASE("Exports end in their folder, with a slash behind it or without") {
  for (const std::string& form : kForms) {
    CAPTURE(form);
    const testing::TemporaryFolder folder;
    const fs::path pairs = pairs_in(folder), work = folder.path() / "work";
    fs::create_directories(form == "there/" ? work / "there" : work);
    const Finished run =
        dt2it({"export", "llama_factory", pairs.string(), "--out", form}, {}, work);
    CHECK(run.code == 0);
    CHECK(run.err == "");
    CHECK((names_in(work / form) ==
           std::vector<std::string>{"README.md", "dataset_info.json", "dt2it_pairs.jsonl"}));
    CHECK((names_in(folder.path()) == std::vector<std::string>{"pairs.jsonl", "work"}));
    if (form != ".") CHECK(names_in(work).size() == 1);
  }
}

TEST_CASE("Trainings end in their folder, with a slash behind it or without") {
  for (const std::string& form : kForms) {
    CAPTURE(form);
    const testing::TemporaryFolder folder;
    const fs::path pairs = pairs_in(folder), work = folder.path() / "work";
    fs::create_directories(form == "there/" ? work / "there" : work);
    const Finished run = dt2it({"train", pairs.string(), "--trainer", "fixture", "--plugin-path",
                                build_path("/tests/host_plugins"), "-o", form},
                               {}, work);
    CHECK(run.code == 0);
    CAPTURE(run.err);
    CHECK(fs::exists(work / form / "model.txt"));
    CHECK((names_in(folder.path()) == std::vector<std::string>{"pairs.jsonl", "work"}));
    if (form != ".") CHECK(names_in(work).size() == 1);
  }
}

}  // namespace dt2it
