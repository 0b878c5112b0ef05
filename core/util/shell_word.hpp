// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dt2it {

// `word` as a shell reads it back: in quotes where it must be.
std::string shell_word(const std::string& word);

}  // namespace dt2it
