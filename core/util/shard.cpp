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
  // SLURM_NTASKS may still be the job's (srun --preserve-env), the step's own number is not.
  struct Names {
    const char *index, *count;
    bool slurm;
  };
  constexpr std::array<Names, 3> kNames{{{"RANK", "WORLD_SIZE", false},
                                         {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", true},
                                         {"SLURM_PROCID", "SLURM_NTASKS", true}}};
  for (const auto& [index, count, slurm] : kNames) {
    const char *i = variable(index), *n = variable(count);
    if (!i || !n || (slurm && !in_slurm_step(variable))) continue;
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

// srun numbers its steps from 0. The steps for scripts, interactive shells and the like have the last 32-bit numbers, where
// the variable is set at all (some versions print them with a sign).
bool in_slurm_step(const std::function<const char*(const char*)>& variable) {
  constexpr std::size_t kSpecial = 0xfffffff0;
  const char* step = variable("SLURM_STEP_ID");
  if (!step) step = variable("SLURM_STEPID");
  std::size_t number = 0;
  return step && number_from(step, number) && number < kSpecial;
}

std::filesystem::path Shard::file(const std::filesystem::path& path) const {
  if (count == 1) return path;
  return path.parent_path() / fmt::format("{}.{}-of-{}{}", path.stem().string(), index, count,
                                          path.extension().string());
}

}  // namespace dt2it
