// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/weights/weights.hpp"

namespace dt2it::nn {

// The weights of a checkpoint folder as tensors, under canonical names
// (core/weights/key_layout.hpp): both key layouts of each family, shards, tied embeddings, LoRA
// adapters merged on reading. Thread-safe. Throws ModelError.
class Checkpoint {
 public:
  explicit Checkpoint(const std::filesystem::path& folder, const WeightsOptions& options = {});

  // In the order on disk.
  const std::vector<std::string>& names() const { return weights_->names(); }
  bool contains(std::string_view name) const { return weights_->contains(name); }
  std::vector<std::int64_t> shape(std::string_view name) const {
    return weights_->info(name).shape;
  }
  at::ScalarType type(std::string_view name) const;

  // A copy, in the stored type or another.
  at::Tensor load(std::string_view name) const;
  at::Tensor load(std::string_view name, at::ScalarType type) const;
  // The stored bytes without a copy (see SafetensorsFile::view); a copy where that cannot be.
  at::Tensor view(std::string_view name) const;
  // Into a tensor of the same shape, of any floating-point type and on any device, converted on the
  // way piece by piece.
  void copy_into(std::string_view name, const at::Tensor& tensor) const;
  // The same for many at once, with threads of its own. A missing name is an error before anything
  // is read.
  void copy_into(std::span<const std::pair<std::string, at::Tensor>> tensors,
                 int threads = 1) const;

  // One error for all names that are missing; the stored names that are not among these.
  void require(std::span<const std::string> names) const { weights_->require(names); }
  std::vector<std::string> unused(std::span<const std::string> names) const {
    return weights_->unused(names);
  }

  const std::shared_ptr<const Weights>& weights() const { return weights_; }

 private:
  struct Piece {
    const std::string* name;
    const at::Tensor* tensor;
    std::int64_t first, rows;
  };
  void check_shape(std::string_view name, const at::Tensor& tensor) const;
  void copy_piece(std::string_view name, const at::Tensor& tensor, std::int64_t first,
                  std::int64_t rows) const;

  std::shared_ptr<const Weights> weights_;
};

}  // namespace dt2it::nn
