// SPDX-License-Identifier: Apache-2.0
#include "core/stages/mixture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"
#include "dt2it/prompt_sources.hpp"

namespace dt2it {
namespace {

std::uint32_t index_of(const std::string& name, std::map<std::string, std::uint32_t>& index,
                       std::vector<std::string>& names) {
  const auto [it, fresh] = index.emplace(name, static_cast<std::uint32_t>(names.size()));
  if (fresh) names.push_back(name);
  return it->second;
}

}  // namespace

Mixture::Source& Mixture::of(const Prompt& prompt) {
  Source& source = sources_[prompt.source];
  if (source.domain.empty()) source.domain = prompt.domain;
  return source;
}

void Mixture::pass(const Prompt& prompt, std::uint64_t priority) {
  ++of(prompt).passed;
  rows_.push_back({index_of(prompt.source, source_index_, source_names_),
                   index_of(prompt.domain, domain_index_, domain_names_), priority});
}

void Mixture::limit(std::vector<char>& wanted, std::uint32_t Row::* group,
                    const std::vector<std::string>& names,
                    const std::map<std::string, std::int64_t>& quota, const char* what) const {
  for (const auto& [name, most] : quota) {
    if (most < 0)
      throw ConfigError(fmt::format("{}: '{}' = {} (allowed: 0 or more)", what, name, most));
    if (name != "*" && std::ranges::find(names, name) == names.end())
      throw ConfigError(fmt::format("{}: no prompt is of '{}' (there are: {})", what, name,
                                    fmt::join(names, ", ")));
  }
  std::vector<std::vector<std::size_t>> members(names.size());
  for (std::size_t row = 0; row < rows_.size(); ++row)
    if (wanted[row]) members[rows_[row].*group].push_back(row);
  for (std::size_t g = 0; g < names.size(); ++g) {
    auto own = quota.find(names[g]);
    if (own == quota.end()) own = quota.find("*");
    if (own == quota.end() || members[g].size() <= static_cast<std::size_t>(own->second)) continue;
    const auto most = members[g].begin() + own->second;
    std::nth_element(members[g].begin(), most, members[g].end(), [&](std::size_t a, std::size_t b) {
      return std::pair(rows_[a].priority, a) < std::pair(rows_[b].priority, b);
    });
    for (auto it = most; it != members[g].end(); ++it) wanted[*it] = 0;
  }
}

std::vector<char> Mixture::draw(const std::map<std::string, std::int64_t>& quota,
                                const std::map<std::string, std::int64_t>& domain_quota) {
  std::vector<char> wanted(rows_.size(), 1);
  limit(wanted, &Row::source, source_names_, quota, "quota");
  limit(wanted, &Row::domain, domain_names_, domain_quota, "domain_quota");
  for (std::size_t row = 0; row < rows_.size(); ++row)
    if (wanted[row]) ++sources_[source_names_[rows_[row].source]].kept;
  return wanted;
}

void Mixture::write(const std::filesystem::path& file) const {
  JsonWriter json;
  std::map<std::string, std::size_t> domains;
  std::set<std::string> present;
  json.begin_object().key("sources").begin_array();
  for (const auto& [name, source] : sources_) {
    const PromptSource* row = table9_row(name);
    if (row) present.insert(row->name);
    domains[source.domain] += source.kept;
    json.begin_object().key("source").value(name);
    if (row) json.key("table9").value(row->name);
    json.key("domain")
        .value(source.domain)
        .key("read")
        .value(source.read)
        .key("kept")
        .value(source.kept);
    json.key("dropped").begin_object();
    for (const auto& [reason, count] : source.dropped) json.key(reason).value(count);
    if (source.passed > source.kept) json.key("over the quota").value(source.passed - source.kept);
    json.end_object().end_object();
  }
  json.end_array().key("domains").begin_object();
  for (const auto& [domain, count] : domains) json.key(domain).value(count);
  json.end_object().key("absent").begin_array();
  for (const PromptSource& row : table9())
    if (!present.contains(row.name)) json.value(row.name);
  json.end_array().end_object();
  write_file_atomically(file, json.text() + "\n");
}

std::string_view main_script(std::string_view text) {
  static constexpr std::array<std::string_view, 7> kNames{"latin",    "han",    "kana", "hangul",
                                                          "cyrillic", "arabic", "other"};
  std::array<std::size_t, 7> counts{};
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      counts[0] += std::isalpha(lead) != 0;
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    std::uint32_t code = lead & (0x7Fu >> length);
    for (std::size_t k = 1; k < length && i + k < text.size(); ++k)
      code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3Fu);
    i += length;
    const auto within = [code](std::uint32_t first, std::uint32_t last) {
      return code >= first && code <= last;
    };
    if (within(0xC0, 0x24F) && code != 0xD7 && code != 0xF7)
      ++counts[0];
    else if (within(0x4E00, 0x9FFF) || within(0x3400, 0x4DBF) || within(0x20000, 0x3FFFF))
      ++counts[1];
    else if (within(0x3040, 0x30FF))
      ++counts[2];
    else if (within(0xAC00, 0xD7AF) || within(0x1100, 0x11FF))
      ++counts[3];
    else if (within(0x400, 0x52F))
      ++counts[4];
    else if (within(0x600, 0x6FF) || within(0x750, 0x77F))
      ++counts[5];
    else if (within(0x370, 0x3FF) || within(0x530, 0x1FFF))
      ++counts[6];  // Greek to Thai and beyond; signs count for nothing
  }
  return kNames[static_cast<std::size_t>(std::ranges::max_element(counts) - counts.begin())];
}

}  // namespace dt2it
