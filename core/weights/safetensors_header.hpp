// SPDX-License-Identifier: Apache-2.0
#pragma once

// The header of a safetensors file: 8 bytes length (little endian), a JSON object, then the bytes
// of all tensors.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/weights/dtype.hpp"

namespace dt2it {

struct StoredTensor {
  Dtype type = Dtype::none;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // bytes, counted from the end of the header

  std::uint64_t bytes() const { return end - begin; }
  std::uint64_t count() const;
};

struct SafetensorsHeader {
  std::map<std::string, StoredTensor, std::less<>> tensors;
  std::map<std::string, std::string> metadata;
};

constexpr std::uint64_t kLongestSafetensorsHeader = 100'000'000;  // as the reference implementation

// Reads the JSON part. Everything is checked: UTF-8, types, shapes, sizes, that tensors fill
// `data_bytes` exactly, without gaps or overlaps (as the reference implementation asks), that no
// name comes twice. Throws ModelError naming `file` and the tensor. Memory is a small multiple of
// the text.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           const std::string& file);

// The whole beginning of a file, length included: the same bytes as the reference implementation
// writes for tensors in this order. Offsets are set by the order; begin and end of the entries are
// ignored.
std::string safetensors_header(std::span<const std::pair<std::string, StoredTensor>> tensors,
                               const std::map<std::string, std::string>& metadata);

// A tensor's name for a message: control characters escaped, cut when long.
std::string shown_name(std::string_view name);
// "[2,3]"
std::string shown_shape(std::span<const std::int64_t> shape);

}  // namespace dt2it
