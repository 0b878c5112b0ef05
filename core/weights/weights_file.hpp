// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "core/weights/safetensors_header.hpp"

namespace dt2it {

// One safetensors file, open for reading. Thread-safe. Throws ModelError with the file's name.
class WeightsFile {
 public:
  explicit WeightsFile(const std::filesystem::path& path);
  ~WeightsFile();
  WeightsFile(const WeightsFile&) = delete;
  WeightsFile& operator=(const WeightsFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const SafetensorsHeader& header() const { return header_; }
  // Null when there is none of that name.
  const StoredTensor* find(std::string_view name) const;

  // Bytes [offset, offset + size) of a tensor of this file, copied by read(2): nothing stays
  // mapped, so that loading needs no memory but the destination, and a file that was cut short
  // meanwhile is an error and not a signal.
  void read(const StoredTensor& tensor, std::uint64_t offset, void* to, std::size_t size) const;

  // The tensor's bytes within a private mapping of the file, which lives as long as the pointer.
  // Writing changes this process's memory only, and is seen by all views of this tensor. The file
  // must not be changed in place meanwhile (replacing it by a rename, as our writer does, is fine).
  // Aligned as the file has it, see aligned().
  std::shared_ptr<std::byte> view(const StoredTensor& tensor) const;
  bool aligned(const StoredTensor& tensor) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
  std::uint64_t data_ = 0;  // where the header ends
  SafetensorsHeader header_;
  mutable std::mutex mutex_;
  mutable std::weak_ptr<std::byte> map_;  // of the whole file, while there are views
};

}  // namespace dt2it
