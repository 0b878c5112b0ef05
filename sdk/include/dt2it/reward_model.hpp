// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// The responses to one prompt.
struct RewardRequest {
  const Prompt* prompt = nullptr;
  std::span<const Response> responses;
  // Position of the record in its file and of each response in it (0 chosen, 1 rejected for a pair).
  // Only a model that looks rewards up (replay) may read these: the contract suite checks that all
  // others give the same rewards when they are changed.
  std::size_t row = 0;
  std::span<const std::size_t> original_index;
};

// What a model has done so far; zero where it does not count.
struct RewardWork {
  std::uint64_t tokens = 0;  // computed; what several responses share counts once
  std::uint64_t cut = 0;     // prompts or responses that a length limit shortened
};

// Gives each response a scalar. Torch-free interface. Called from one thread at a time.
class DT2IT_API RewardModel {
 public:
  static constexpr const char* kKind = "reward_models";
  virtual ~RewardModel() = default;

  // One vector per request, one Reward per response, same order. A request may be batched with others,
  // but its rewards do not depend on them beyond float noise.
  virtual std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) = 0;

  // Announces what the next call of rewards() will be asked, the very same requests (they stay where they are until
  // then): a model may begin with what needs no computation of its own, such as reading images. Without requests it
  // takes back what was announced; does not throw then.
  virtual void prepare(std::span<const RewardRequest> requests) { static_cast<void>(requests); }

  virtual RewardWork work() const { return {}; }

  // Told once after the last request how many records there were: a model that looks rewards up throws
  // DataError when it has another number of them.
  virtual void finish(std::size_t rows) { static_cast<void>(rows); }

  // How many requests to hand over at once.
  virtual std::size_t batch_size() const { return 64; }
};

}  // namespace dt2it
