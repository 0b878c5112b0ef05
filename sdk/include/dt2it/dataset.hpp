// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "dt2it/error.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// A source of records. A data set offers one or more of the three streams; asking for another throws
// DataError. Every call starts again at the first record; the same parameters give the same records.
// Media are put into context.media() while streaming.
class DT2IT_API Dataset {
 public:
  static constexpr const char* kKind = "datasets";
  virtual ~Dataset() = default;
  virtual std::unique_ptr<Stream<Prompt>> prompts() { throw DataError("this data set offers no prompts"); }
  virtual std::unique_ptr<Stream<PreferencePair>> pairs() {
    throw DataError("this data set offers no preference pairs");
  }
  virtual std::unique_ptr<Stream<ImagePreference>> image_preferences() {
    throw DataError("this data set offers no text-to-image preferences");
  }
};

}  // namespace dt2it
