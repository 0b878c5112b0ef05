// SPDX-License-Identifier: Apache-2.0
#include "core/util/shard.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <string_view>

#include "dt2it/error.hpp"

namespace dt2it {
namespace {

bool number_from(std::string_view text, std::size_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

Shard Shard::parse(const std::string& text) {
  Shard shard;
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos ||
      !number_from(std::string_view(text).substr(0, slash), shard.index) ||
      !number_from(std::string_view(text).substr(slash + 1), shard.count) ||
      shard.index >= shard.count)
    throw ConfigError(
        fmt::format("shard '{}' is not understood (allowed: I/N with I from 0 to N - 1)", text));
  return shard;
}

std::optional<Shard> Shard::from_environment(
    const std::function<const char*(const char*)>& variable) {
  constexpr std::array<std::array<const char*, 2>, 2> kNames{
      {{"RANK", "WORLD_SIZE"}, {"SLURM_PROCID", "SLURM_NTASKS"}}};
  for (const auto& [index, count] : kNames) {
    const char *i = variable(index), *n = variable(count);
    if (!i || !n) continue;
    try {
      return parse(fmt::format("{}/{}", i, n));
    } catch (const ConfigError&) {
      throw ConfigError(
          fmt::format("{} = {} and {} = {} make no shard (--shard 0/1 works without them)", index,
                      i, count, n));
    }
  }
  return std::nullopt;
}

std::filesystem::path Shard::file(const std::filesystem::path& path) const {
  if (count == 1) return path;
  return path.parent_path() / fmt::format("{}.{}-of-{}{}", path.stem().string(), index, count,
                                          path.extension().string());
}

}  // namespace dt2it
