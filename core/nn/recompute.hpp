// SPDX-License-Identifier: Apache-2.0
#pragma once

// Gradient checkpointing (Chen et al. 2016): a part of a model that keeps nothing but its input and
// is computed again in the backward pass.

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace dt2it::nn {

// body(x) with the gradients that it would have, to the last bit. `body` must give the same again,
// must not change x, and what it refers to must live as long as the graph; `weights` are the leaves
// besides x that it uses. It is called under a NoGradGuard first.
at::Tensor recomputed(const at::Tensor& x, const std::vector<at::Tensor>& weights,
                      std::function<at::Tensor(const at::Tensor&)> body);

}  // namespace dt2it::nn
