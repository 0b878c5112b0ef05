// SPDX-License-Identifier: Apache-2.0
#pragma once

// The normalizers of a tokenizer.json. All want valid UTF-8 and give valid UTF-8.

#include <string>
#include <string_view>

namespace dt2it::nn {

struct Normalizer {
  enum class Type { compose, lower, replace } type;
  std::string from, to;  // of replace

  // The text itself where nothing changes, else what was written into `buffer`.
  std::string_view apply(std::string_view text, std::string& buffer) const;
};

}  // namespace dt2it::nn
