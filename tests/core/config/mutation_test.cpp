// SPDX-License-Identifier: Apache-2.0
// Valid files, damaged in 300 seeded ways: never a crash, and either fine or a message with a place.
#include <catch2/catch.hpp>
#include <cctype>
#include <fstream>
#include <iterator>
#include <sstream>

#include "dt2it/rng.hpp"
#include "tests/core/config/config_fixture.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

const std::vector<std::string> kFiles = {"child.toml", "parent.toml", "profiles/test.toml",
                                         "profiles/base.toml"};

std::string read(const std::string& name) {
  std::ifstream file(std::filesystem::path(source_path()) / "tests" / "fixtures" / "toml" / name,
                     std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line + "\n");
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

std::string mutate(const std::string& text, Rng& rng) {
  std::vector<std::string> lines = lines_of(text);
  switch (rng.below(8)) {
    case 0:
    case 1: {  // flipped bits
      std::string result = text;
      for (int i = rng.integer(1, 4); i > 0; --i)
        result[rng.below(result.size())] ^= static_cast<char>(1 << rng.below(8));
      return result;
    }
    case 2: {  // any bytes
      std::string result = text;
      for (int i = rng.integer(1, 4); i > 0; --i)
        result[rng.below(result.size())] = static_cast<char>(rng.below(256));
      return result;
    }
    case 3:
      lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(rng.below(lines.size())));
      return joined(lines);
    case 4:
      std::swap(lines[rng.below(lines.size())], lines[rng.below(lines.size())]);
      return joined(lines);
    case 5: lines.push_back(lines[rng.below(lines.size())]); return joined(lines);
    case 6: return text.substr(0, rng.below(text.size()));
    default: {  // a value of another type
      const std::vector<std::string> values = {"1",
                                               "-7.5",
                                               "true",
                                               "\"text\"",
                                               "[1, [2]]",
                                               "{ a = 1 }",
                                               "nan",
                                               "1979-05-27T07:32:00Z",
                                               "[]",
                                               "\"${HOME\"",
                                               "99999999999999999999"};
      for (int tries = 0; tries < 50; ++tries) {
        std::string& line = lines[rng.below(lines.size())];
        const std::size_t equals = line.find('=');
        if (equals == std::string::npos) continue;
        line = line.substr(0, equals + 1) + " " + values[rng.below(values.size())] + "\n";
        break;
      }
      return joined(lines);
    }
  }
}

// "file:line:col: message", line and column positive.
bool is_located(const std::string& message) {
  std::size_t at = message.find(".toml:");
  if (at == std::string::npos) return false;
  at += 6;
  for (int part = 0; part < 2; ++part) {
    const std::size_t start = at;
    while (at < message.size() && std::isdigit(static_cast<unsigned char>(message[at]))) ++at;
    if (at == start || message[start] == '0' || at >= message.size() || message[at] != ':')
      return false;
    ++at;
  }
  return message.size() > at + 1;
}

}  // namespace

TEST_CASE("300 damaged configurations: fine, or a located message") {
  TomlFolder folder;
  std::map<std::string, std::string> valid;
  for (const std::string& name : kFiles) {
    valid[name] = read(name);
    REQUIRE_FALSE(valid[name].empty());
    folder.file(name, valid[name]);
  }
  REQUIRE(folder.errors("child.toml", {}, "test").empty());

  int broken = 0;
  for (int round = 0; round < 300; ++round) {
    Rng rng(stable_hash("toml mutation", static_cast<std::uint64_t>(round)));
    const std::string& name = kFiles[rng.below(kFiles.size())];
    folder.file(name, mutate(valid[name], rng));
    Diagnostics diagnostics;
    folder.load(diagnostics, "child.toml", {}, "test");
    folder.file(name, valid[name]);
    broken += !diagnostics.ok();
    for (const auto& error : diagnostics.errors) {
      Diagnostics one;
      one.errors = {error};
      INFO("round " << round << ", " << name << ": " << one.text());
      CHECK(is_located(one.text()));
      CHECK(error.message.find('\n') == std::string::npos);
    }
  }
  CHECK(broken > 150);  // the damage is real
  CHECK(broken < 300);
}

}  // namespace dt2it
