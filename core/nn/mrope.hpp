// SPDX-License-Identifier: Apache-2.0
#pragma once

// M-RoPE positions (time, height, width) as transformers 4.57.6 numbers them: after an image or a
// video, text goes on at the largest position of all three axes + 1.

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace dt2it::nn {

class MropePositions {
 public:
  explicit MropePositions(std::vector<std::array<std::int64_t, 3>>& positions)
      : positions_(positions) {}

  void text(std::size_t count) {
    for (; count > 0; --count, ++next_) positions_.push_back({next_, next_, next_});
  }

  // `rows` x `columns` merged tokens; `steps` of them for a video whose placeholders follow each
  // other (Qwen2.5-VL), each `step` later on the time axis. 5.x multiplies with the seconds before
  // it cuts to an integer, and goes on after a video at start + max(rows, columns), whatever the
  // time reached.
  void visual(std::int64_t rows, std::int64_t columns, std::int64_t steps = 1,
              std::int64_t step = 0) {
    for (std::int64_t t = 0; t < steps; ++t)
      for (std::int64_t y = 0; y < rows; ++y)
        for (std::int64_t x = 0; x < columns; ++x)
          positions_.push_back({next_ + t * step, next_ + y, next_ + x});
    next_ += std::max({(steps - 1) * step, rows - 1, columns - 1}) + 1;
  }

  std::int64_t next() const { return next_; }
  void go_on_at(std::int64_t next) { next_ = next; }

 private:
  std::vector<std::array<std::int64_t, 3>>& positions_;
  std::int64_t next_ = 0;
};

}  // namespace dt2it::nn
