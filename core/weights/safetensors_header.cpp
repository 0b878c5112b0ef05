// SPDX-License-Identifier: Apache-2.0
#include "core/weights/safetensors_header.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>

#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

constexpr std::size_t kMostDimensions = 64;  // no real tensor has more
constexpr std::uint64_t kMostValues = std::uint64_t{1}
                                      << 56;  // so that counts of bits stay within 64 bits

class Reader {
 public:
  Reader(std::uint64_t data_bytes, const std::string& file)
      : data_bytes_(data_bytes), file_(file) {}

  SafetensorsHeader read(std::string_view json) {
    if (json.empty() || json.front() != '{')
      fail("is not a safetensors file (its header does not begin with '{')");
    simdjson::dom::parser parser;
    simdjson::dom::object root;
    const simdjson::padded_string text(json);
    if (const auto error = parser.parse(text).get(root))
      fail(fmt::format("its header is not a JSON object: {}", simdjson::error_message(error)));
    bool described = false;
    for (const auto [key, value] : root) {
      if (key == "__metadata__") {
        if (std::exchange(described, true)) fail("its header has two entries '__metadata__'");
        metadata(value);
        continue;
      }
      if (key.find('\0') != std::string_view::npos)
        fail(fmt::format("tensor '{}' has a NUL in its name", shown_name(key)));
      StoredTensor stored = tensor(key, value);
      if (!header_.tensors.emplace(key, std::move(stored)).second) fail(key, "is listed twice");
    }
    check_places();
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ModelError(fmt::format("{}: {}", file_, what));
  }
  [[noreturn]] void fail(std::string_view name, const std::string& what) const {
    fail(fmt::format("tensor '{}' {}", shown_name(name), what));
  }

  void metadata(const simdjson::dom::element& value) {
    simdjson::dom::object object;
    if (value.get(object)) fail("'__metadata__' must be an object of texts");
    for (const auto [key, held] : object) {
      std::string_view text;
      if (held.get(text)) fail(fmt::format("metadata entry '{}' must be a text", shown_name(key)));
      if (!header_.metadata.emplace(key, text).second)
        fail(fmt::format("metadata entry '{}' is listed twice", shown_name(key)));
    }
  }

  StoredTensor tensor(std::string_view name, const simdjson::dom::element& value) const {
    simdjson::dom::object object;
    if (value.get(object)) fail(name, "is not described by an object");
    StoredTensor stored;
    bool has_type = false, has_shape = false, has_offsets = false;
    for (const auto [key, field] : object) {  // other keys are ignored, as the reference does
      bool* seen = key == "dtype"          ? &has_type
                   : key == "shape"        ? &has_shape
                   : key == "data_offsets" ? &has_offsets
                                           : nullptr;
      if (!seen) continue;
      if (std::exchange(*seen, true)) fail(name, fmt::format("has two entries '{}'", key));
      if (seen == &has_type)
        stored.type = type_of(name, field);
      else if (seen == &has_shape)
        stored.shape = shape_of(name, field);
      else
        std::tie(stored.begin, stored.end) = offsets_of(name, field);
    }
    if (!has_type || !has_shape || !has_offsets) fail(name, "needs dtype, shape and data_offsets");
    const std::uint64_t bits = stored.count() * dtype_bits(stored.type);
    if (bits % 8 != 0 || stored.bytes() != bits / 8)
      fail(name, fmt::format("holds {} bytes, shape {} of {} needs {}", stored.bytes(),
                             shown_shape(stored.shape), dtype_name(stored.type), (bits + 7) / 8));
    return stored;
  }

  Dtype type_of(std::string_view name, const simdjson::dom::element& field) const {
    std::string_view text;
    if (field.get(text)) fail(name, "has a dtype that is not a text");
    const Dtype type = dtype_named(text);
    if (type == Dtype::none) fail(name, fmt::format("has the unknown type '{}'", shown_name(text)));
    return type;
  }

  std::vector<std::int64_t> shape_of(std::string_view name,
                                     const simdjson::dom::element& field) const {
    simdjson::dom::array array;
    if (field.get(array)) fail(name, "has a shape that is not a list");
    std::vector<std::int64_t> shape;
    std::uint64_t count = 1;
    for (const auto dimension : array) {
      std::uint64_t extent = 0;
      if (dimension.get(extent))
        fail(name, "has an impossible shape: extents are whole numbers from 0 on");
      if (shape.size() == kMostDimensions)
        fail(name, fmt::format("has an impossible shape: over {} dimensions", kMostDimensions));
      if (extent > kMostValues || (extent != 0 && count > kMostValues / extent))
        fail(name, "has an impossible shape: too many values");
      count *= extent;
      shape.push_back(static_cast<std::int64_t>(extent));
    }
    return shape;
  }

  std::pair<std::uint64_t, std::uint64_t> offsets_of(std::string_view name,
                                                     const simdjson::dom::element& field) const {
    simdjson::dom::array array;
    std::uint64_t begin = 0, end = 0;
    if (field.get(array) || array.size() != 2 || array.at(0).get(begin) || array.at(1).get(end))
      fail(name, "has data_offsets that are not two whole numbers");
    if (begin > end) fail(name, fmt::format("ends (at {}) before it begins (at {})", end, begin));
    if (end > data_bytes_)
      fail(name,
           fmt::format("lies outside of the file: it ends at byte {}, there are {} (cut short?)",
                       end, data_bytes_));
    return {begin, end};
  }

  void check_places() const {
    using Entry = const std::pair<const std::string, StoredTensor>*;
    std::vector<Entry> order;
    order.reserve(header_.tensors.size());
    for (const auto& entry : header_.tensors) order.push_back(&entry);
    std::sort(order.begin(), order.end(), [](Entry a, Entry b) {
      return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
    });
    std::uint64_t reached = 0;
    const std::string* last = nullptr;
    for (const Entry entry : order) {
      const auto& [name, stored] = *entry;
      if (stored.begin < reached)
        fail(name, fmt::format("and tensor '{}' overlap", shown_name(*last)));
      if (stored.begin > reached)
        fail(name, fmt::format("begins at byte {}, the one before ends at {}: gaps are not allowed",
                               stored.begin, reached));
      reached = stored.end;
      last = &name;
    }
    if (reached != data_bytes_)
      fail(fmt::format("holds {} bytes of data, its header describes {}", data_bytes_, reached));
  }

  const std::uint64_t data_bytes_;
  const std::string& file_;
  SafetensorsHeader header_;
};

}  // namespace

std::uint64_t StoredTensor::count() const {
  std::uint64_t product = 1;
  for (const std::int64_t extent : shape) product *= static_cast<std::uint64_t>(extent);
  return product;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           const std::string& file) {
  return Reader(data_bytes, file).read(json);
}

std::string safetensors_header(std::span<const std::pair<std::string, StoredTensor>> tensors,
                               const std::map<std::string, std::string>& metadata) {
  JsonWriter json;
  json.begin_object();
  if (!metadata.empty()) {
    json.key("__metadata__").begin_object();
    for (const auto& [key, value] : metadata) json.key(key).value(value);
    json.end_object();
  }
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::uint64_t end = offset + tensor.count() * dtype_size(tensor.type);
    json.key(name).begin_object().key("dtype").value(dtype_name(tensor.type));
    json.key("shape").begin_array();
    for (const std::int64_t extent : tensor.shape) json.value(extent);
    json.end_array().key("data_offsets").begin_array();
    json.value(static_cast<std::int64_t>(offset))
        .value(static_cast<std::int64_t>(end))
        .end_array()
        .end_object();
    offset = end;
  }
  json.end_object();
  std::string text(8, '\0');
  text += json.text();
  while (text.size() % 8 != 0) text += ' ';
  for (std::size_t i = 0; i < 8; ++i) text[i] = static_cast<char>((text.size() - 8) >> (8 * i));
  return text;
}

std::string shown_name(std::string_view name) {
  constexpr std::size_t kLongest = 120;
  std::string shown;
  for (const char c : name) {
    if (shown.size() >= kLongest && (c & 0xc0) != 0x80)
      return shown + fmt::format("... ({} bytes)", name.size());
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      shown += c;
  }
  return shown;
}

std::string shown_shape(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

}  // namespace dt2it
