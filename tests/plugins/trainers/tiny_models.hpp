// SPDX-License-Identifier: Apache-2.0
#pragma once

// A checkpoint of the mini backbone with hardly trained weights (one step of each phase, about a second), and the plugins
// that use it.

#include <filesystem>
#include <memory>
#include <string>

#include "dt2it/backbone.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/trainer.hpp"
#include "tests/plugins/plugin_library.hpp"

namespace dt2it::testing {

inline Table short_warm_start() {
  return {{"align_steps", value_of(1)},
          {"caption_steps", value_of(1)},
          {"pair_caption_steps", value_of(1)},
          {"question_steps", value_of(1)},
          {"probe_count", value_of(1)}};
}

// Made once for the process, removed at its end.
inline const std::filesystem::path& tiny_checkpoint() {
  struct Made {
    FakeContext context;
    std::filesystem::path folder = context.scratch() / "tiny";
    Made() {
      static const PluginLibrary plugin("trainers/mini_warm_start");
      TrainRequest request;
      request.output = folder;
      request.seed = 3;
      std::filesystem::create_directories(folder);
      plugin.make<Trainer>("mini_warm_start", short_warm_start(), context)->train(request);
    }
  };
  static const Made made;
  return made.folder;
}

// Makes backbones/qwen3_vl known to the context, and one of the tiny checkpoint as [backbones.base].
inline void add_backbone(FakeContext& context, Table params = {}) {
  static const PluginLibrary plugin("backbones/qwen3_vl");
  plugin.add_types_to(context);
  if (!params.contains("checkpoint")) params["checkpoint"] = value_of(tiny_checkpoint().string());
  context.add("base", plugin.make<Backbone>("qwen3_vl", params, context));
}

inline std::shared_ptr<Trainer> native_trainer(FakeContext& context, Table params = {}) {
  static const PluginLibrary plugin("trainers/native");
  params.try_emplace("backbone", value_of("base"));
  return plugin.make<Trainer>("native", params, context);
}

inline std::shared_ptr<RewardModel> reward_model(FakeContext& context,
                                                 const std::filesystem::path& checkpoint,
                                                 Table params = {}) {
  static const PluginLibrary plugin("reward_models/mrm");
  params["checkpoint"] = value_of(checkpoint.string());
  return plugin.make<RewardModel>("mrm", params, context);
}

}  // namespace dt2it::testing
