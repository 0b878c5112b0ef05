// SPDX-License-Identifier: Apache-2.0
#include "core/nn/feature_cache.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <system_error>
#include <vector>

#include "core/nn/safetensors.hpp"
#include "core/util/file_lock.hpp"
#include "core/util/files.hpp"
#include "core/util/sha256.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

namespace fs = std::filesystem;

// A file: this, the features of the placeholders, those of each deepstack merger.
struct Header {
  char magic[8] = {'d', 't', '2', 'i', 't', 'f', '0', '1'};
  std::int64_t parts = 0, tokens = 0, width = 0, type = 0;
  char sum[64] = {};  // SHA-256 of the numbers above and of what follows

  std::string sum_of(std::string_view data) const {
    return sha256_hex(fmt::format("{} {} {} {} {}", parts, tokens, width, type, sha256_hex(data)));
  }
  std::size_t part_bytes() const {
    return static_cast<std::size_t>(tokens * width) * dtype_size(static_cast<Dtype>(type));
  }
};

std::uint64_t bytes_of(const VisionFeatures& features) {
  return features.output.nbytes() * (1 + features.deepstack.size()) + 512;
}

std::string key_of(const PreparedVisual& visual) {
  return sha256_hex(fmt::format("{}x{}x{} {}", visual.width, visual.height, visual.frames,
                                sha256_hex(std::span(visual.rgb.data(), visual.rgb.size()))));
}

bool is_own(const fs::path& file) { return file.extension() == ".features"; }

}  // namespace

FeatureCache::FeatureCache(const FeatureCacheOptions& options)
    : options_(options), memory_(std::make_shared<FeatureMemory>(options.memory_bytes)) {
  if (options_.folder.empty()) return;
  std::error_code error;
  fs::create_directories(options_.folder, error);
  if (error)
    throw ConfigError(fmt::format("feature_cache = \"{}\": the folder cannot be made: {}",
                                  options_.folder.string(), error.message()));
  for (fs::recursive_directory_iterator it(options_.folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    const auto size = it->file_size(gone);
    if (!gone && is_own(it->path())) on_disk_ += size;
  }
}

std::shared_ptr<FeatureMemory> FeatureMemory::shared(const std::string& identity,
                                                     std::uint64_t bytes) {
  static std::mutex mutex;
  static std::unordered_map<std::string, std::weak_ptr<FeatureMemory>> memories;
  const std::lock_guard lock(mutex);
  std::weak_ptr<FeatureMemory>& known = memories[identity];
  std::shared_ptr<FeatureMemory> memory = known.lock();
  if (!memory) known = memory = std::make_shared<FeatureMemory>(bytes);
  return memory;
}

std::optional<VisionFeatures> FeatureMemory::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  ages_.splice(ages_.begin(), ages_, found->second.age);
  return found->second.features;
}

void FeatureMemory::keep(const std::string& key, const VisionFeatures& features) {
  const std::uint64_t bytes = bytes_of(features);
  const std::lock_guard lock(mutex_);
  if (bytes > budget_ || entries_.contains(key)) return;
  while (held_ + bytes > budget_) {
    const auto oldest = entries_.find(ages_.back());
    held_ -= oldest->second.bytes;
    entries_.erase(oldest);
    ages_.pop_back();
  }
  ages_.push_front(key);
  entries_[key] = {features, bytes, ages_.begin()};
  held_ += bytes;
}

std::uint64_t FeatureMemory::held_bytes() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

void FeatureCache::begin(std::uint64_t version, const std::function<std::string()>& identity) {
  if (version == version_) return;
  version_ = version;
  if (!options_.folder.empty() || options_.shared) identity_ = identity();
  memory_ = options_.shared ? FeatureMemory::shared(identity_, options_.memory_bytes)
                            : std::make_shared<FeatureMemory>(options_.memory_bytes);
}

std::optional<VisionFeatures> FeatureCache::find(const std::string& key) {
  if (auto known = memory_->find(key)) return known;
  VisionFeatures features;
  if (options_.folder.empty() || !read(key, features)) return std::nullopt;
  memory_->keep(key, features);
  return features;
}

void FeatureCache::store(const std::string& key, VisionFeatures& features) {
  ++made_;
  features.output = features.output.to(at::kCPU).contiguous();
  for (at::Tensor& deep : features.deepstack) deep = deep.to(at::kCPU).contiguous();
  memory_->keep(key, features);
  if (!options_.folder.empty()) write(key, features);
}

VisionFeatures FeatureCache::get(const PreparedVisual& visual,
                                 const std::function<VisionFeatures()>& make) {
  const std::string key = key_of(visual);
  if (auto known = find(key)) return std::move(*known);
  VisionFeatures features = make();
  store(key, features);
  return features;
}

std::vector<VisionFeatures> FeatureCache::get_all(
    std::span<const std::shared_ptr<const PreparedVisual>> visuals,
    const std::function<std::vector<VisionFeatures>(std::span<const std::size_t>)>& make) {
  std::vector<VisionFeatures> all(visuals.size());
  std::vector<std::string> keys;
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < visuals.size(); ++i) {
    keys.push_back(key_of(*visuals[i]));
    if (auto known = find(keys[i]))
      all[i] = std::move(*known);
    else
      missing.push_back(i);
  }
  if (missing.empty()) return all;
  std::vector<VisionFeatures> made = make(missing);
  for (std::size_t k = 0; k < missing.size(); ++k) {
    store(keys[missing[k]], made[k]);
    all[missing[k]] = std::move(made[k]);
  }
  return all;
}

fs::path FeatureCache::file_of(const std::string& key) const {
  const std::string name = sha256_hex(identity_ + key);
  return options_.folder / name.substr(0, 2) / (name + ".features");
}

bool FeatureCache::read(const std::string& key, VisionFeatures& features) const {
  const fs::path file = file_of(key);
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return false;
  std::string bytes;
  try {
    bytes = read_file(file);
  } catch (const Error&) {
    return false;  // another process has just removed it
  }
  Header header;
  if (bytes.size() < sizeof header) return false;
  const Header expected;
  std::memcpy(&header, bytes.data(), sizeof header);
  const std::string_view data = std::string_view(bytes).substr(sizeof header);
  if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0 ||
      header.sum_of(data) != std::string_view(header.sum, sizeof header.sum) || header.parts < 1 ||
      data.size() != static_cast<std::size_t>(header.parts) * header.part_bytes())
    return false;
  std::vector<at::Tensor> parts;
  for (std::int64_t i = 0; i < header.parts; ++i) {
    const auto type = at::TensorOptions().dtype(scalar_type_of(static_cast<Dtype>(header.type)));
    parts.push_back(at::empty({header.tokens, header.width}, type));
    std::memcpy(parts.back().data_ptr(),
                data.data() + static_cast<std::size_t>(i) * header.part_bytes(),
                header.part_bytes());
  }
  features.output = parts.front();
  features.deepstack.assign(parts.begin() + 1, parts.end());
  fs::last_write_time(file, fs::file_time_type::clock::now(), error);
  return true;
}

void FeatureCache::write(const std::string& key, const VisionFeatures& features) {
  Header header;
  header.parts = 1 + static_cast<std::int64_t>(features.deepstack.size());
  header.tokens = features.output.size(0);
  header.width = features.output.size(1);
  header.type = static_cast<std::int64_t>(dtype_of(features.output.scalar_type()));
  std::string bytes(sizeof header, '\0');
  const auto append = [&](const at::Tensor& part) {
    bytes.append(static_cast<const char*>(part.const_data_ptr()), part.nbytes());
  };
  append(features.output);
  for (const at::Tensor& deep : features.deepstack) append(deep);
  if (bytes.size() > options_.disk_bytes) return;
  const std::string sum = header.sum_of(std::string_view(bytes).substr(sizeof header));
  std::memcpy(header.sum, sum.data(), sizeof header.sum);
  std::memcpy(bytes.data(), &header, sizeof header);
  // Others write too: it looks again from time to time. Whoever cannot look, as another does, keeps nothing meanwhile.
  const auto full = [&] { return on_disk_ + bytes.size() > options_.disk_bytes; };
  if ((full() || added_ > options_.disk_bytes / 16) && (!make_room() || full())) return;
  const fs::path file = file_of(key);
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  try {
    write_file_atomically(file, bytes, Flush::no);
    on_disk_ += bytes.size();
    added_ += bytes.size();
  } catch (const Error&) {  // disk full, say: the features are there all the same
  }
}

// Removes the files that were not used for longest until a tenth of the budget is free. One process
// at a time does so; false: another is at it.
bool FeatureCache::make_room() {
  struct File {
    fs::file_time_type used;
    fs::path path;
    std::uint64_t size;
  };
  std::string holder;
  std::unique_ptr<FileLock> lock;
  try {
    lock = FileLock::try_lock(options_.folder / "lock", holder);
  } catch (const Error&) {
  }
  if (!lock) return false;
  std::vector<File> files;
  std::uint64_t total = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(options_.folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    const auto size = it->file_size(gone);
    const auto used = it->last_write_time(gone);
    if (gone || !it->is_regular_file(gone)) continue;
    if (it->path().extension() == ".part" &&
        fs::file_time_type::clock::now() - used > std::chrono::hours(1)) {
      fs::remove(it->path(), gone);  // of a process that was killed
      continue;
    }
    if (!is_own(it->path())) continue;
    files.push_back({used, it->path(), size});
    total += size;
  }
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.used < b.used; });
  const std::uint64_t most = options_.disk_bytes - options_.disk_bytes / 10;
  added_ = 0;
  for (const File& file : files) {
    if (total <= most) break;
    if (fs::remove(file.path, error)) total -= file.size;
  }
  on_disk_ = total;
  return true;
}

}  // namespace dt2it::nn
