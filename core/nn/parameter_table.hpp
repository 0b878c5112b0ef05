// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/nn/linear.hpp"

namespace dt2it::nn {

struct Norm {
  at::Tensor weight, bias;  // bias is undefined for RMS norms
};

// A model's weights under the names of its checkpoint, in the order in which they were added.
class ParameterTable {
 public:
  explicit ParameterTable(at::TensorOptions options) : options_(options) {}

  at::Tensor add(const std::string& name, std::vector<std::int64_t> shape) {
    all_.emplace_back(name, at::empty(shape, options_));
    return all_.back().second;
  }
  Linear linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
    Linear made{add(name + ".weight", {out, in}), {}, std::make_shared<LoraPair>()};
    if (bias) made.bias = add(name + ".bias", {out});
    linears_.emplace_back(name, made);
    return made;
  }
  Norm norm(const std::string& name, std::int64_t width, bool bias) {
    Norm made{add(name + ".weight", {width}), {}};
    if (bias) made.bias = add(name + ".bias", {width});
    return made;
  }
  const std::vector<std::pair<std::string, at::Tensor>>& all() const { return all_; }
  // Layers that can be adapted.
  const std::vector<std::pair<std::string, Linear>>& linears() const { return linears_; }
  const at::TensorOptions& options() const { return options_; }

 private:
  at::TensorOptions options_;
  std::vector<std::pair<std::string, at::Tensor>> all_;
  std::vector<std::pair<std::string, Linear>> linears_;
};

}  // namespace dt2it::nn
