// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace dt2it {

// One of several processes that share the records of a file. Neighbours stay together in blocks: they often show the same
// image.
struct Shard {
  std::size_t index = 0;
  std::size_t count = 1;

  static constexpr std::size_t kBlock = 8;
  bool has(std::size_t row) const { return row / kBlock % count == index; }
  std::string text() const { return std::to_string(index) + "/" + std::to_string(count); }

  // "2/8", the third of eight. Throws ConfigError.
  static Shard parse(const std::string& text);
  // As torchrun (RANK, WORLD_SIZE) or, in a step of srun, SLURM (SLURM_PROCID, SLURM_STEP_NUM_TASKS or SLURM_NTASKS) say;
  // none where neither does. `variable` gives the value of an environment variable or null. Throws ConfigError.
  static std::optional<Shard> from_environment(
      const std::function<const char*(const char*)>& variable);

  // "rewards.2-of-8.jsonl" for "rewards.jsonl"; the path itself when there is only one shard.
  std::filesystem::path file(const std::filesystem::path& path) const;
};

// Whether this is one of the processes that srun started. The script of sbatch and the shell of salloc are single processes,
// though SLURM_NTASKS there is what the job asked for and SLURM_PROCID 0.
bool in_slurm_step(const std::function<const char*(const char*)>& variable);

}  // namespace dt2it
