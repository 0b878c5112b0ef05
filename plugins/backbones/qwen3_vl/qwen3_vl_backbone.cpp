// SPDX-License-Identifier: Apache-2.0
#include "core/nn/vl_backbone.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

class Qwen3VlBackbone final : public nn::VlBackbone {
 public:
  Qwen3VlBackbone(const Params& params, Context& context)
      : VlBackbone(nn::Family::qwen3_vl, params, context) {}
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("backbones/qwen3_vl", "2.1.0", registrar) {
  registrar.add<dt2it::Backbone, dt2it::Qwen3VlBackbone>(
      "qwen3_vl", "Qwen3-VL of any size, from a Hugging Face folder.");
}
