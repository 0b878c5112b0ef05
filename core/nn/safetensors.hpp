// SPDX-License-Identifier: Apache-2.0
#pragma once

// Safetensors files as tensors; the format itself is in core/weights.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/nn/text_file.hpp"  // what wrote and read files included this header
#include "core/weights/weights_file.hpp"
#include "core/weights/weights_writer.hpp"

namespace dt2it::nn {

// Dtype::none for types that files have not; the other throws ModelError for what tensors have not
// (8-bit floats).
Dtype dtype_of(at::ScalarType type);
at::ScalarType scalar_type_of(Dtype type);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// One file. The header is checked completely on opening. Throws ModelError with the file's name.
// Thread-safe.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  std::vector<std::string> names() const;
  bool contains(std::string_view name) const { return file_->find(name) != nullptr; }
  // A copy in the stored type.
  at::Tensor load(std::string_view name) const;
  // Without a copy: a CPU tensor over a private mapping of the file, which it keeps alive. Writing
  // to it changes memory only; all views of one tensor share it. A copy where the file has the
  // tensor not aligned.
  at::Tensor view(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return file_->header().metadata; }

 private:
  const StoredTensor& at(std::string_view name) const;
  std::shared_ptr<const WeightsFile> file_;
};

// Writes a file of the same bytes for the same tensors; through a temporary file and a rename.
// Wider types come first, otherwise the order is the given one. One tensor at a time is brought to
// the CPU.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

struct SaveOptions {
  std::optional<at::ScalarType> type;  // of floating-point tensors; none: as they are
  std::uint64_t max_shard_bytes = 5'000'000'000;
};
// Writes the weights of a checkpoint folder, in files of bounded size: see write_weights. One
// tensor at a time is converted.
WrittenWeights save_weights(const std::filesystem::path& folder, const NamedTensors& tensors,
                            const SaveOptions& options = {});

}  // namespace dt2it::nn
