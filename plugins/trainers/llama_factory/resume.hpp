// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "plugins/trainers/llama_factory/settings.hpp"

namespace dt2it::llama_factory {

// The newest complete checkpoint of LLaMA-Factory's output folder, or empty. Those that a killed
// process left half written are removed: it would take them for the newest.
std::filesystem::path last_checkpoint(const std::filesystem::path& output, bool reward_head);

// LLaMA-Factory does not go on with a reward training: of all weights it refuses to, with LoRA it
// fails, because checkpoints have other names in them than its model with the head. With the
// checkpoint as what it starts from, only optimiser, schedule, place in the data and random state
// are missing, and transformers' trainer reads these by itself once told to. A module that Python
// loads at the start of every process (through PYTHONPATH) tells it. Returns environment variables.
std::map<std::string, std::string> resume_hook(const std::filesystem::path& folder,
                                               const std::filesystem::path& checkpoint);

}  // namespace dt2it::llama_factory
