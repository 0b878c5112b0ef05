// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "dt2it/error.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// A source of records. A data set offers one or more of the streams; asking for another throws
// DataError. Every call starts again at the first record; the same parameters give the same records. Called from one thread.
// Media go into context.media() meanwhile. A record whose prompt has no messages could not be used: `extra` says why.
class DT2IT_API Dataset {
 public:
  static constexpr const char* kKind = "datasets";
  virtual ~Dataset() = default;
  virtual std::unique_ptr<Stream<Prompt>> prompts() {
    throw DataError("this data set offers no prompts");
  }
  virtual std::unique_ptr<Stream<PreferencePair>> pairs() {
    throw DataError("this data set offers no preference pairs");
  }
  virtual std::unique_ptr<Stream<ImagePreference>> image_preferences() {
    throw DataError("this data set offers no text-to-image preferences");
  }

  // Answers to be scored: pairs, several candidates, single ones. A record that cannot be used is given with its
  // status. Rows that are not wanted are passed over without a look at their media (empty function: all are wanted).
  virtual std::unique_ptr<Stream<AnswerRecord>> answers(
      std::function<bool(std::size_t row)> wanted) {
    static_cast<void>(wanted);
    throw DataError("this data set offers no answers to be scored");
  }
  // About how many records answers() has, for an estimate of the time; 0: that would take long to find out.
  virtual std::size_t count_answers() { return 0; }
};

}  // namespace dt2it
