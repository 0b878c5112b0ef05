// SPDX-License-Identifier: Apache-2.0
#include "core/nn/recompute.hpp"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <utility>

namespace dt2it::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Recomputed : torch::autograd::Function<Recomputed> {
  struct Part : torch::CustomClassHolder {
    variable_list weights;
    std::function<at::Tensor(const at::Tensor&)> body;
  };

  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, at::TensorList weights,
                            const c10::intrusive_ptr<Part>& part) {
    part->weights = weights.vec();
    context->save_for_backward({x});
    context->saved_data["part"] = c10::IValue::make_capsule(part);
    context->saved_data["input"] = x.requires_grad();
    return part->body(x);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto part =
        c10::static_intrusive_pointer_cast<Part>(context->saved_data["part"].toCapsule());
    const bool input = context->saved_data["input"].toBool();
    const at::Tensor x = context->get_saved_variables()[0].detach().requires_grad_(input);
    variable_list wanted = part->weights;
    if (input) wanted.insert(wanted.begin(), x);
    variable_list found;
    {
      const at::AutoGradMode record(true);
      found = torch::autograd::grad({part->body(x)}, wanted, {gradients[0]}, false, false, true);
    }
    if (!input) found.insert(found.begin(), at::Tensor());
    found.emplace_back();  // the part
    return found;
  }
};

}  // namespace

at::Tensor recomputed(const at::Tensor& x, const std::vector<at::Tensor>& weights,
                      std::function<at::Tensor(const at::Tensor&)> body) {
  variable_list live;
  std::copy_if(weights.begin(), weights.end(), std::back_inserter(live),
               [](const at::Tensor& w) { return w.requires_grad(); });
  if (!at::GradMode::is_enabled() || (live.empty() && !x.requires_grad())) {
    const at::NoGradGuard no_grad;
    return body(x);
  }
  const auto part = c10::make_intrusive<Recomputed::Part>();
  part->body = std::move(body);
  return Recomputed::apply(x, at::TensorList(live), part);
}

}  // namespace dt2it::nn
