// SPDX-License-Identifier: Apache-2.0
#pragma once

// Records of the mini world. The truth of each stands beside it (`extra`, key "truth"; see
// plugins/common/mini_world/truth.hpp) and is never shown to a model.

#include <cstdint>
#include <optional>
#include <string>

#include "dt2it/context.hpp"
#include "dt2it/dataset.hpp"
#include "plugins/datasets/mini_world/parts.hpp"

namespace dt2it::mini_world {

class MiniWorldDataset final : public Dataset {
 public:
  struct Params {
    std::string part = "prompts";
    std::optional<std::int64_t> count;
    std::optional<std::int64_t> seed;
    double style_bias = .5;
    double label_noise = .5;
    double aesthetics = .5;
    double pixel_noise = 8;
    static void describe(Schema<Params>& schema);
  };

  MiniWorldDataset(const Params& params, Context& context);

  // Part "prompts" offers prompts, "t2i" image preferences, all others pairs and the prompts of
  // these. Streams must not outlive the data set.
  std::unique_ptr<Stream<Prompt>> prompts() override;
  std::unique_ptr<Stream<PreferencePair>> pairs() override;
  std::unique_ptr<Stream<ImagePreference>> image_preferences() override;

 private:
  Rng item_rng(std::size_t index) const;
  Media picture(const Scene& scene, Rng& rng, double quality, const std::string& source) const;
  Prompt prompt(const Item& item, const std::string& id, const std::string& picture_source,
                bool reference, Rng& rng) const;
  Prompt prompt_at(std::size_t index) const;
  PreferencePair record(const LabelledPair& pair, const std::string& id,
                        const std::string& picture_source, bool reference, Rng& rng) const;
  PreferencePair record(const BenchmarkPair& pair, Rng& rng) const;
  PreferencePair pair_at(std::size_t index) const;
  ImagePreference image_preference_at(std::size_t index) const;
  std::size_t pair_count() const;

  const Params params_;
  Context& context_;
  std::uint64_t seed_ = 0;
  double scale_ = 1;           // of a benchmark against its usual size
  std::size_t questions_ = 0;  // items to draw; mm_rlhf_rewardbench makes three pairs of each
};

}  // namespace dt2it::mini_world
