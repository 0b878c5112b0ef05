// SPDX-License-Identifier: Apache-2.0
#include "core/nn/vl_backbone.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

class Qwen25VlBackbone final : public nn::VlBackbone {
 public:
  Qwen25VlBackbone(const Params& params, Context& context)
      : VlBackbone(nn::Family::qwen2_5_vl, params, context) {}
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("backbones/qwen2_5_vl", "2.1.0", registrar) {
  registrar.add<dt2it::Backbone, dt2it::Qwen25VlBackbone>(
      "qwen2_5_vl", "Qwen2.5-VL of any size, from a Hugging Face folder.");
}
