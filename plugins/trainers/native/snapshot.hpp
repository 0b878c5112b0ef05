// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a training goes on from: weights, optimiser, and how far it was. Random numbers and the order of the data follow
// from seed and step.
//
//   STATE/current               the number of the step whose folder is whole
//   STATE/step-N/rank-R.safetensors   of each process; the weights are in that of rank 0
//   STATE/reference.safetensors   DPO: log-probabilities under the reference
//   STATE/checkpoints/step-N    kept checkpoints
//   STATE/best                  the checkpoint with the best accuracy on held-out pairs so far
//
// The last two become part of the result in the end, and stay here too: who asked for the training puts the result in its
// place and removes STATE after that. One that is killed in between goes on from a whole STATE.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/nn/optimizer.hpp"
#include "core/nn/process_group.hpp"
#include "dt2it/backbone.hpp"

namespace dt2it::native {

class Snapshots {
 public:
  // An empty folder: nothing is saved.
  Snapshots(std::filesystem::path folder, nn::ProcessGroup& group);

  bool possible() const { return !folder_.empty(); }
  const std::filesystem::path& folder() const { return folder_; }

  // Trainable parameters, optimiser, and facts. Whole or not at all, whenever the process is killed; what was saved before
  // is removed. Called by all processes.
  void save(std::int64_t step, const std::vector<NamedParameter>& parameters,
            const nn::Optimizer& optimizer, const std::map<std::string, std::string>& facts);
  // Into the parameters and the optimiser; none: nothing is saved. By as many processes as saved it, or others.
  struct Resumed {
    std::int64_t step = 0;
    std::map<std::string, std::string> facts;
  };
  std::optional<Resumed> load(const std::vector<NamedParameter>& parameters,
                              nn::Optimizer& optimizer);

 private:
  std::filesystem::path folder_;
  nn::ProcessGroup& group_;
};

// What is below `from` is below `to` too: the same files by hard links, or copies where there are none (another file system).
void share_files(const std::filesystem::path& from, const std::filesystem::path& to);

// A folder's new content, made by `fill` beside it and renamed into place.
template <class Fill>
void replace_folder(const std::filesystem::path& folder, Fill&& fill) {
  const std::filesystem::path fresh = folder.string() + ".new";
  std::filesystem::remove_all(fresh);
  std::filesystem::create_directories(fresh);
  fill(fresh);
  std::filesystem::remove_all(folder);
  std::filesystem::rename(fresh, folder);
}

}  // namespace dt2it::native
