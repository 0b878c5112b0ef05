// SPDX-License-Identifier: Apache-2.0
#pragma once

// Grades and rewards of several answers to each question, as stages write them; and who of them is picked.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "dt2it/answer_benchmark.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {

// One line of grades.jsonl: {"id":"...","grades":[...]}, one for each answer.
std::string grades_line(const std::string& id, std::span<const AnswerGrade> grades);
std::vector<std::vector<AnswerGrade>> read_grades(const std::filesystem::path& file);

// One line of rewards.jsonl: {"id":"...","rewards":[{"value":0.5},{"status":"unavailable","detail":"..."}]}.
std::string rewards_line(const std::string& id, std::span<const Reward> rewards);
std::vector<std::vector<Reward>> read_rewards(const std::filesystem::path& file);
std::vector<Reward> rewards_of_line(const std::string& line, const std::string& where);

// The position of the highest value, the lowest position among equal ones; values.size() where all are NaN, which is never
// picked.
std::size_t pick_best(std::span<const double> values);

// For each of N values how likely it is the one that pick_best takes from k of them drawn without replacement: exact, over
// all subsets. NaN is never picked, so that the sum may be below 1. k is at most N.
std::vector<double> subset_weights(std::span<const double> values, std::size_t k);

// 1, 2, 4, ... and n itself.
std::vector<std::size_t> subset_sizes(std::size_t n);

}  // namespace dt2it
