// SPDX-License-Identifier: Apache-2.0
#pragma once

// Truth beside a record: the object under the key "truth" of its `extra`. Written by
// datasets/mini_world, read by curators/true_labels and by nobody else.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/common/mini_world/questions.hpp"

namespace dt2it::mini_world {

struct Truth {
  std::vector<Scene> scenes;  // one for each picture of the prompt, in order; may be empty
  std::optional<Kind> kind;
  // Text-to-image: which image of the recorded preference is really better ("better", "worse": the
  // record is wrong, "tie"); by utility without human noise, and by alignment with the text alone.
  std::string preferred, aligned;
};

// {"truth":{"kind":"count","scenes":[[[cell,noun,colour,size],...]]}}; `more` is put in front as it
// is
// ("\"ID\":\"a\"", no braces), and may be empty.
std::string truth_extra(const Truth& truth, std::string_view more = {});

// Empty when there is no truth in it or it is not ours (also for text that is not JSON).
std::optional<Truth> read_truth(std::string_view extra);

}  // namespace dt2it::mini_world
