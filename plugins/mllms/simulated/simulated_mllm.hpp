// SPDX-License-Identifier: Apache-2.0
#pragma once

// An MLLM of the mini world behind the ordinary interface. It knows only what a real one knows: the
// pixels of the request's images, read by a classical recogniser, and the request's text. It
// answers questions, writes with the help of a reference answer, and judges by the rubric of
// plugins/judges/rubric.
//
// Everything is drawn from the content of the call (and its sample number), so that a replay is
// exact and the order of calls means nothing. Thread-safe.

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "dt2it/context.hpp"
#include "dt2it/mllm.hpp"
#include "plugins/common/mini_world/writer.hpp"
#include "plugins/mllms/simulated/judging.hpp"
#include "plugins/mllms/simulated/request.hpp"

namespace dt2it::simulated {

class SimulatedMllm final : public Mllm {
 public:
  struct Params {
    double ability = 1;
    std::string style = "plain";
    std::vector<double> claims{.35, .4, .25};
    double garble = .08;
    double eyesight = 300;
    double judge_noise = 1.2;
    double position_bias = .75;
    double style_liking = .2;
    double misread = .03;
    double break_json = .02;
    std::optional<std::int64_t> seed;
    static void describe(Schema<Params>& schema);
  };

  // Throws ConfigError unless `claims` has three non-negative numbers with a positive sum.
  SimulatedMllm(const Params& params, Context& context);
  ChatReply chat(const ChatRequest& chat) override;

 private:
  struct Sight {
    Status status = Status::missing_media;
    mini_world::Scene scene;
    std::string detail;
  };
  std::shared_ptr<const Sight> look(const Media& media);
  mini_world::Scene perceive(const Image& image, const std::string& id) const;
  std::string answer(const Request& request, const std::optional<mini_world::Question>& question,
                     std::span<const mini_world::Scene> scenes, Rng& rng) const;

  const Params params_;
  mini_world::Author author_;
  JudgeTraits traits_;
  std::uint64_t identity_ = 0;  // of this model: seeds what is its own
  Context& context_;
  std::shared_mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const Sight>> seen_;  // by media id
};

}  // namespace dt2it::simulated
