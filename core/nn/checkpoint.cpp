// SPDX-License-Identifier: Apache-2.0
#include "core/nn/checkpoint.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <algorithm>

#include "core/nn/parallel.hpp"
#include "core/nn/safetensors.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

constexpr std::int64_t kPieceBytes =
    32 << 20;  // what a thread takes at once, and the most that is staged for a device

std::int64_t rows_of(const at::Tensor& tensor) { return tensor.dim() == 0 ? 1 : tensor.size(0); }

std::int64_t rows_at_once(const at::Tensor& tensor) {
  const std::int64_t rows = std::max<std::int64_t>(1, rows_of(tensor));
  const std::int64_t bytes = std::max<std::int64_t>(
      1, tensor.numel() / rows * static_cast<std::int64_t>(tensor.element_size()));
  return std::max<std::int64_t>(1, kPieceBytes / bytes);
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& folder, const WeightsOptions& options)
    : weights_(std::make_shared<const Weights>(folder, options)) {}

at::ScalarType Checkpoint::type(std::string_view name) const {
  return scalar_type_of(weights_->info(name).type);
}

at::Tensor Checkpoint::load(std::string_view name) const { return load(name, type(name)); }

at::Tensor Checkpoint::load(std::string_view name, at::ScalarType type) const {
  at::Tensor tensor = at::empty(weights_->info(name).shape, at::TensorOptions().dtype(type));
  copy_into(name, tensor);
  return tensor;
}

at::Tensor Checkpoint::view(std::string_view name) const {
  const Weights::Info info = weights_->info(name);
  const std::shared_ptr<std::byte> bytes =
      StoredTensor{info.type, info.shape}.count() > 0 ? weights_->view(name) : nullptr;
  if (!bytes) return load(name);
  return at::from_blob(
      bytes.get(), info.shape, [bytes](void*) {},
      at::TensorOptions().dtype(scalar_type_of(info.type)));
}

void Checkpoint::check_shape(std::string_view name, const at::Tensor& tensor) const {
  const std::vector<std::int64_t> stored = weights_->info(name).shape;
  if (tensor.sizes() != at::IntArrayRef(stored))
    throw ModelError(fmt::format("tensor '{}' is stored with shape {}, the model asks for {}", name,
                                 shown_shape(stored),
                                 shown_shape({tensor.sizes().data(), tensor.sizes().size()})));
}

void Checkpoint::copy_piece(std::string_view name, const at::Tensor& tensor, std::int64_t first,
                            std::int64_t rows) const {
  if (rows == 0 || tensor.numel() == 0) return;
  const Dtype type = dtype_of(tensor.scalar_type());
  if (tensor.is_cpu() && tensor.is_contiguous()) {
    const std::int64_t width = tensor.numel() / rows_of(tensor);
    auto* to = static_cast<char*>(tensor.data_ptr()) +
               first * width * static_cast<std::int64_t>(tensor.element_size());
    return weights_->read(name, type, first, rows, to);
  }
  const at::NoGradGuard no_grad;
  const at::Tensor target = tensor.dim() == 0 ? tensor : tensor.narrow(0, first, rows);
  const at::Tensor staged =
      at::empty(target.sizes(), at::TensorOptions().dtype(tensor.scalar_type()));
  weights_->read(name, type, first, rows, staged.data_ptr());
  target.copy_(staged);
}

void Checkpoint::copy_into(std::string_view name, const at::Tensor& tensor) const {
  check_shape(name, tensor);
  const std::int64_t rows = rows_of(tensor), step = rows_at_once(tensor);
  for (std::int64_t first = 0; first < rows; first += step)
    copy_piece(name, tensor, first, std::min(step, rows - first));
}

void Checkpoint::copy_into(std::span<const std::pair<std::string, at::Tensor>> tensors,
                           int threads) const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  require(names);
  std::vector<Piece> pieces;
  for (const auto& [name, tensor] : tensors) {
    check_shape(name, tensor);
    const std::int64_t rows = rows_of(tensor), step = rows_at_once(tensor);
    for (std::int64_t first = 0; first < rows; first += step)
      pieces.push_back({&name, &tensor, first, std::min(step, rows - first)});
  }
  parallel_for(pieces.size(), static_cast<std::size_t>(std::max(1, threads)), [&](std::size_t i) {
    copy_piece(*pieces[i].name, *pieces[i].tensor, pieces[i].first, pieces[i].rows);
  });
}

}  // namespace dt2it::nn
