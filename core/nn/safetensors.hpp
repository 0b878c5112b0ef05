// SPDX-License-Identifier: Apache-2.0
#pragma once

// The safetensors file format: 8 bytes header length (little endian), a JSON header, raw tensors.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/nn/text_file.hpp"  // what wrote and read files included this header

namespace dt2it::nn {

// One file, mapped into memory; the header is checked completely on opening (lengths, types, shapes, overlaps).
// Throws ModelError with the file's name. Thread-safe.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  std::vector<std::string> names() const;
  bool contains(std::string_view name) const { return entries_.find(name) != entries_.end(); }
  // A copy in the stored type.
  at::Tensor load(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Entry {
    at::ScalarType type;
    std::vector<std::int64_t> shape;
    std::size_t begin, end;  // bytes in the data section
  };
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path path_;
  std::shared_ptr<const std::uint8_t> map_;
  std::size_t size_ = 0;
  std::size_t data_ = 0;  // offset of the data section
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, std::string> metadata_;
};

// All weights of a checkpoint folder: model.safetensors, or the shards that model.safetensors.index.json lists.
class CheckpointWeights {
 public:
  explicit CheckpointWeights(const std::filesystem::path& folder);
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const { return where_.find(name) != where_.end(); }
  at::Tensor load(std::string_view name) const;

 private:
  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t, std::less<>> where_;  // tensor -> file
};

// Writes a file of the same bytes for the same tensors, in the given order; through a temporary file and a rename.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace dt2it::nn
