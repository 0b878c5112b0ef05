// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/weights/dtype.hpp"

namespace dt2it {

struct TensorPlan {
  std::string name;
  Dtype type = Dtype::none;
  std::vector<std::int64_t> shape;
};

// Takes the next bytes of a tensor.
using ByteSink = std::function<void(std::span<const std::byte>)>;
// Gives all bytes of one tensor, in pieces of any size.
using ByteSource = std::function<void(const TensorPlan&, const ByteSink&)>;

struct WriteOptions {
  std::uint64_t max_shard_bytes = 5'000'000'000;  // of data; a larger tensor has a file of its own
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
};

struct WrittenWeights {
  std::size_t files = 0;
  std::uint64_t bytes = 0;  // of data
};

// Writes the weights of a checkpoint folder under Hugging Face's names: model.safetensors, or
// model-00001-of-0000N.safetensors and model.safetensors.index.json when they exceed a shard.
// Tensors are asked for one after the other, in the order given but for this: within a file those
// of wider types come first, so that all are aligned. The same tensors give the same bytes. Weights
// that the folder had are replaced as a whole: until all new ones are written and flushed to disk
// it stays as it was, and at no time are old and new ones mixed; on an error new files are removed.
// Throws ModelError.
WrittenWeights write_weights(const std::filesystem::path& folder,
                             const std::vector<TensorPlan>& tensors, const WriteOptions& options,
                             const ByteSource& source);

// One file, by the same rules.
void write_weights_file(const std::filesystem::path& file, const std::vector<TensorPlan>& tensors,
                        const std::map<std::string, std::string>& metadata,
                        const ByteSource& source);

}  // namespace dt2it
