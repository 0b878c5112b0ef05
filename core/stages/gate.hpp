// SPDX-License-Identifier: Apache-2.0
#pragma once

// A gate is a stage that may end the rounds of `iterate`. Stages behind it (StageConfig::gate) are passed by then: they do
// nothing, and their result is empty, or the best checkpoint so far.

#include <filesystem>

#include "core/run/stage.hpp"

namespace dt2it {

// StageType::pass_by of stages whose result is pairs, votes ...: the named file, empty, and a funnel that says why.
std::function<void(StageRun&, const std::filesystem::path&)> pass_by_empty(std::string file);
// Of stages whose result is a checkpoint.
void pass_by_training(StageRun& stage, const std::filesystem::path& gate);
// Whether a finished stage was passed by.
bool was_passed_by(const std::filesystem::path& folder);

// The same files, without taking room where the file system can.
void link_folder(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace dt2it
