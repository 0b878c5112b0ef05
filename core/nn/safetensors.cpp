// SPDX-License-Identifier: Apache-2.0
#include "core/nn/safetensors.hpp"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <iterator>

#include "core/nn/json_text.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

struct StoredType {
  std::string_view name;
  at::ScalarType type;
};
constexpr std::array<StoredType, 9> kTypes{{{"F32", at::kFloat},
                                            {"BF16", at::kBFloat16},
                                            {"F16", at::kHalf},
                                            {"F64", at::kDouble},
                                            {"I64", at::kLong},
                                            {"I32", at::kInt},
                                            {"I16", at::kShort},
                                            {"U8", at::kByte},
                                            {"BOOL", at::kBool}}};

constexpr std::size_t kHeaderLimit = 100u << 20;  // as the reference implementation

}  // namespace

void SafetensorsFile::fail(const std::string& what) const {
  throw ModelError(fmt::format("{}: {}", path_.string(), what));
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("cannot be opened");
  struct stat status {};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size < 8) {
    ::close(file);
    fail("is not a safetensors file (shorter than its header)");
  }
  size_ = static_cast<std::size_t>(status.st_size);
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
  ::close(file);
  if (mapped == MAP_FAILED) fail("cannot be mapped into memory");
  map_ = std::shared_ptr<const std::uint8_t>(static_cast<const std::uint8_t*>(mapped),
                                             [length = size_](const std::uint8_t* p) {
                                               ::munmap(const_cast<std::uint8_t*>(p), length);
                                             });
  std::uint64_t header = 0;
  for (int i = 7; i >= 0; --i) header = header << 8 | map_.get()[i];
  if (header > kHeaderLimit || header > size_ - 8)
    fail(fmt::format("is not a safetensors file, or is cut short (its header claims {} bytes)", header));
  data_ = 8 + header;
  const std::size_t room = size_ - data_;

  simdjson::dom::parser parser;
  simdjson::dom::object root;
  const simdjson::padded_string text(reinterpret_cast<const char*>(map_.get()) + 8, header);
  if (parser.parse(text).get(root)) fail("its header is not a JSON object");
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  for (const auto [key, value] : root) {
    const std::string name(key);
    simdjson::dom::object object;
    if (value.get(object)) fail(fmt::format("header entry '{}' is not an object", name));
    if (name == "__metadata__") {
      for (const auto [k, v] : object) {
        std::string_view held;
        if (v.get(held)) fail("metadata must be texts");
        metadata_.emplace(k, held);
      }
      continue;
    }
    Entry entry{};
    std::string_view type;
    if (object["dtype"].get(type)) fail(fmt::format("tensor '{}' has no dtype", name));
    const auto known = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.name == type; });
    if (known == kTypes.end())
      fail(fmt::format("tensor '{}' has type {}, which is not supported (F32, BF16, F16, F64, I64, I32, I16, U8, BOOL)",
                       name, type));
    entry.type = known->type;
    simdjson::dom::array shape, offsets;
    if (object["shape"].get(shape) || object["data_offsets"].get(offsets) || offsets.size() != 2)
      fail(fmt::format("tensor '{}' has no shape or data_offsets", name));
    std::uint64_t count = 1;
    for (const auto dimension : shape) {
      std::uint64_t extent = 0;
      if (dimension.get(extent) || (extent != 0 && count > (std::uint64_t{1} << 48) / extent))
        fail(fmt::format("tensor '{}' has an impossible shape", name));
      count *= extent;
      entry.shape.push_back(static_cast<std::int64_t>(extent));
    }
    std::uint64_t begin = 0, end = 0;
    if (offsets.at(0).get(begin) || offsets.at(1).get(end) || begin > end || end > room)
      fail(fmt::format("tensor '{}' lies outside of the file (cut short?)", name));
    if (end - begin != count * c10::elementSize(entry.type))
      fail(fmt::format("tensor '{}' holds {} bytes, its shape and type need {}", name, end - begin,
                       count * c10::elementSize(entry.type)));
    entry.begin = begin;
    entry.end = end;
    ranges.emplace_back(begin, end);
    if (!entries_.emplace(name, std::move(entry)).second) fail(fmt::format("tensor '{}' is listed twice", name));
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first < ranges[i - 1].second) fail("two tensors overlap");
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

at::Tensor SafetensorsFile::load(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail(fmt::format("has no tensor '{}'", name));
  const Entry& entry = found->second;
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
  if (entry.end > entry.begin)
    std::memcpy(tensor.data_ptr(), map_.get() + data_ + entry.begin, entry.end - entry.begin);
  return tensor;
}

CheckpointWeights::CheckpointWeights(const std::filesystem::path& folder) : folder_(folder) {
  const auto index = folder / "model.safetensors.index.json";
  const auto whole = folder / "model.safetensors";
  if (std::filesystem::exists(whole)) {
    files_.emplace_back(whole);
    for (const std::string& name : files_[0].names()) where_.emplace(name, 0);
    return;
  }
  if (!std::filesystem::exists(index))
    throw ModelError(fmt::format("{}: has neither model.safetensors nor model.safetensors.index.json", folder.string()));
  simdjson::dom::parser parser;
  simdjson::dom::object map;
  const std::string text = read_text_file(index);
  simdjson::dom::element root;
  if (parser.parse(text).get(root) || root["weight_map"].get(map))
    throw ModelError(fmt::format("{}: has no weight_map", index.string()));
  std::map<std::string, std::size_t> opened;
  for (const auto [key, value] : map) {
    std::string_view file;
    if (value.get(file) || file.find('/') != std::string_view::npos)
      throw ModelError(fmt::format("{}: '{}' does not name a file of this folder", index.string(), key));
    const auto [at, fresh] = opened.try_emplace(std::string(file), files_.size());
    if (fresh) files_.emplace_back(folder / file);
    if (!files_[at->second].contains(key))
      throw ModelError(fmt::format("{}: tensor '{}' is not in {}", index.string(), key, file));
    where_.emplace(key, at->second);
  }
}

std::vector<std::string> CheckpointWeights::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : where_) names.push_back(name);
  return names;
}

at::Tensor CheckpointWeights::load(std::string_view name) const {
  const auto found = where_.find(name);
  if (found == where_.end()) throw ModelError(fmt::format("{}: has no tensor '{}'", folder_.string(), name));
  return files_[found->second].load(name);
}

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (header.back() != '{') header += ',';
      header += json_text(key) + ':' + json_text(value);
    }
    header += '}';
  }
  std::vector<at::Tensor> held;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    held.push_back(tensor.detach().to(at::kCPU).contiguous());
    const at::Tensor& last = held.back();
    const auto known =
        std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.type == last.scalar_type(); });
    if (known == kTypes.end())
      throw ModelError(fmt::format("{}: tensor '{}' has a type that cannot be written", path.string(), name));
    if (header.size() > 1) header += ',';
    header += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", json_text(name),
                          known->name, fmt::join(last.sizes(), ","), offset, offset + last.nbytes());
    offset += last.nbytes();
  }
  header += '}';
  while (header.size() % 8 != 0) header += ' ';

  std::filesystem::path temporary = path;
  temporary += ".partial";
  std::ofstream file(temporary, std::ios::binary);
  std::array<char, 8> length{};
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  file.write(length.data(), 8);
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const at::Tensor& tensor : held)
    if (tensor.numel() > 0)
      file.write(static_cast<const char*>(tensor.data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
  file.close();
  if (!file) throw ModelError(fmt::format("{}: cannot be written (disk full?)", path.string()));
  std::filesystem::rename(temporary, path);
}

}  // namespace dt2it::nn
