// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>

#include "core/nn/heap.hpp"
#include "core/nn/process_group.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/trainer.hpp"
#include "plugins/trainers/native/training.hpp"

namespace dt2it::native {
namespace {

class NativeTrainer final : public Trainer {
 public:
  using Params = native::Params;
  NativeTrainer(const Params& params, Context& context) : params_(params), context_(context) {
    params.check();
  }

  bool train(const TrainRequest& request) override {
    nn::keep_freed_memory();
    at::set_num_threads(params_.threads);
    const auto backbone = context_.component<Backbone>(params_.backbone);
    backbone->reload();  // whatever was done to the shared component before
    const std::vector<NamedParameter> parameters = backbone->parameters();
    const at::Device device =
        parameters.empty() ? at::Device(at::kCPU) : parameters[0].tensor.device();
    nn::ProcessGroup group(nn::ProcessGroup::Place::from_environment(), params_.process_timeout,
                           device);
    return Training(params_, context_, request, backbone, group).run();
  }

 private:
  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it::native

DT2IT_PLUGIN("trainers/native", "2.2.0", registrar) {
  registrar.add<dt2it::Trainer, dt2it::native::NativeTrainer>(
      "native",
      "Trains a reward model (Bradley-Terry) or a language model (DPO, next token) in this "
      "process, or in several.");
}
