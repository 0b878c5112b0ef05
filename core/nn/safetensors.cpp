// SPDX-License-Identifier: Apache-2.0
#include "core/nn/safetensors.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

constexpr std::array<std::pair<Dtype, at::ScalarType>, 13> kTypes{{{Dtype::f64, at::kDouble},
                                                                   {Dtype::f32, at::kFloat},
                                                                   {Dtype::f16, at::kHalf},
                                                                   {Dtype::bf16, at::kBFloat16},
                                                                   {Dtype::i64, at::kLong},
                                                                   {Dtype::i32, at::kInt},
                                                                   {Dtype::i16, at::kShort},
                                                                   {Dtype::i8, at::kChar},
                                                                   {Dtype::boolean, at::kBool},
                                                                   {Dtype::u64, at::kUInt64},
                                                                   {Dtype::u32, at::kUInt32},
                                                                   {Dtype::u16, at::kUInt16},
                                                                   {Dtype::u8, at::kByte}}};

// Plans in the order of the tensors, and what gives their bytes.
struct Plan {
  std::vector<TensorPlan> tensors;
  ByteSource source;
};

Plan plan_of(const std::filesystem::path& where, const NamedTensors& tensors,
             std::optional<at::ScalarType> type) {
  Plan plan;
  std::map<std::string, const at::Tensor*> by_name;
  for (const auto& [name, tensor] : tensors) {
    const at::ScalarType stored = type && tensor.is_floating_point() ? *type : tensor.scalar_type();
    const Dtype dtype = dtype_of(stored);
    if (dtype == Dtype::none)
      throw ModelError(
          fmt::format("{}: tensor '{}' has a type that cannot be written", where.string(), name));
    plan.tensors.push_back({name, dtype, tensor.sizes().vec()});
    by_name[name] = &tensor;
  }
  plan.source = [by_name = std::move(by_name)](const TensorPlan& wanted, const ByteSink& sink) {
    const at::Tensor held =
        by_name.at(wanted.name)->detach().to(at::kCPU, scalar_type_of(wanted.type)).contiguous();
    sink({static_cast<const std::byte*>(held.const_data_ptr()), held.nbytes()});
  };
  return plan;
}

}  // namespace

Dtype dtype_of(at::ScalarType type) {
  const auto known =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.second == type; });
  return known == kTypes.end() ? Dtype::none : known->first;
}

at::ScalarType scalar_type_of(Dtype type) {
  const auto known =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.first == type; });
  if (known == kTypes.end())
    throw ModelError(fmt::format("numbers of type {} are not supported", dtype_name(type)));
  return known->second;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::make_shared<WeightsFile>(path)) {}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : file_->header().tensors) names.push_back(name);
  return names;
}

const StoredTensor& SafetensorsFile::at(std::string_view name) const {
  const StoredTensor* stored = file_->find(name);
  if (!stored)
    throw ModelError(
        fmt::format("{}: has no tensor '{}'", file_->path().string(), shown_name(name)));
  if (!readable(stored->type))
    throw ModelError(
        fmt::format("{}: tensor '{}' has type {}, which is not supported (BF16, F16, F32, F64, "
                    "whole numbers, BOOL are)",
                    file_->path().string(), shown_name(name), dtype_name(stored->type)));
  return *stored;
}

at::Tensor SafetensorsFile::load(std::string_view name) const {
  const StoredTensor& stored = at(name);
  at::Tensor tensor =
      at::empty(stored.shape, at::TensorOptions().dtype(scalar_type_of(stored.type)));
  if (stored.bytes() > 0) file_->read(stored, 0, tensor.data_ptr(), stored.bytes());
  return tensor;
}

at::Tensor SafetensorsFile::view(std::string_view name) const {
  const StoredTensor& stored = at(name);
  if (stored.bytes() == 0 || !file_->aligned(stored)) return load(name);
  const std::shared_ptr<std::byte> bytes = file_->view(stored);
  return at::from_blob(
      bytes.get(), stored.shape, [bytes](void*) {},
      at::TensorOptions().dtype(scalar_type_of(stored.type)));
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const Plan plan = plan_of(path, tensors, {});
  write_weights_file(path, plan.tensors, metadata, plan.source);
}

WrittenWeights save_weights(const std::filesystem::path& folder, const NamedTensors& tensors,
                            const SaveOptions& options) {
  const Plan plan = plan_of(folder, tensors, options.type);
  WriteOptions write;
  write.max_shard_bytes = options.max_shard_bytes;
  return write_weights(folder, plan.tensors, write, plan.source);
}

}  // namespace dt2it::nn
