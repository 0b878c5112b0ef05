// SPDX-License-Identifier: Apache-2.0
#pragma once

// A simulated judge's opinion, and its reply in the rubric's JSON (paper section 3.1 and appendix
// B).

#include <optional>
#include <span>
#include <string>

#include "plugins/common/mini_world/quality.hpp"
#include "plugins/mllms/simulated/request.hpp"

namespace dt2it::simulated {

struct JudgeTraits {
  double noise = 1.2;
  double position_bias = .75;
  double style_liking = .2;
  double misread = .03;
  double break_json = .02;
};

// `scenes` as perceived; `identity` seeds the misreadings, which belong to model, question and
// response, so that the same response is misread in every protocol alike; all else is drawn from
// `rng`.
std::string judge(const Request& request, const std::optional<mini_world::Question>& question,
                  std::span<const mini_world::Scene> scenes, const JudgeTraits& traits,
                  std::uint64_t identity, Rng& rng);

}  // namespace dt2it::simulated
