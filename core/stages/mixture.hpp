// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/types.hpp"

namespace dt2it {

// What a collection of prompts is made of, by source and domain, and the draw that keeps to quotas. Memory: sixteen bytes a prompt.
class Mixture {
 public:
  struct Source {
    std::string domain;
    std::size_t read = 0, passed = 0, kept = 0;
    std::map<std::string, std::size_t> dropped;  // by reason
  };

  Source& of(const Prompt& prompt);
  // A prompt that may be drawn. `priority` is random: the lowest are drawn first.
  void pass(const Prompt& prompt, std::uint64_t priority);

  // For each prompt passed whether it is kept: no more of a source and then of a domain than its quota ("*": of every one that
  // is not named). Throws ConfigError for a name that no prompt has.
  std::vector<char> draw(const std::map<std::string, std::int64_t>& quota,
                         const std::map<std::string, std::int64_t>& domain_quota);

  // {"sources": [{"source", "table9", "domain", "read", "kept", "dropped": {}}], "domains": {}, "absent": [Table 9 names]}
  void write(const std::filesystem::path& file) const;

 private:
  struct Row {
    std::uint32_t source, domain;
    std::uint64_t priority;
  };
  void limit(std::vector<char>& wanted, std::uint32_t Row::* group,
             const std::vector<std::string>& names,
             const std::map<std::string, std::int64_t>& quota, const char* what) const;

  std::map<std::string, Source> sources_;
  std::map<std::string, std::uint32_t> source_index_, domain_index_;
  std::vector<std::string> source_names_, domain_names_;
  std::vector<Row> rows_;
};

// In what most letters are written: latin, han, kana, hangul, cyrillic, arabic, other. Text without letters: latin.
std::string_view main_script(std::string_view text);

}  // namespace dt2it
