// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/nn/vision_tower.hpp"
#include "dt2it/backbone.hpp"

namespace dt2it::nn {

struct FeatureCacheOptions {
  std::uint64_t memory_bytes = 0;
  std::filesystem::path folder;  // empty: memory only
  std::uint64_t disk_bytes = 0;
  bool shared = false;  // the memory is that of all models in this process with the same tower
};

// Features in memory, the least recently used go first. Thread-safe.
class FeatureMemory {
 public:
  explicit FeatureMemory(std::uint64_t bytes) : budget_(bytes) {}
  // The one of this process for towers of this identity, while anyone holds it. The first who asks sets the budget.
  static std::shared_ptr<FeatureMemory> shared(const std::string& identity, std::uint64_t bytes);

  std::optional<VisionFeatures> find(const std::string& key);
  void keep(const std::string& key, const VisionFeatures& features);
  std::uint64_t held_bytes() const;

 private:
  struct Entry {
    VisionFeatures features;
    std::uint64_t bytes = 0;
    std::list<std::string>::iterator age;
  };
  const std::uint64_t budget_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
  std::list<std::string> ages_;  // most recently used first
  std::uint64_t held_ = 0;
};

// What a vision tower whose weights stay made of pictures and videos, by their content: in memory,
// and in a folder that several processes may share. The least recently used go first. What is
// damaged or cannot be read is made again; what cannot be written is not kept. Features are held on
// the CPU. Not thread-safe, safe between processes.
class FeatureCache {
 public:
  // Throws ConfigError when the folder cannot be made.
  explicit FeatureCache(const FeatureCacheOptions& options);

  // `version` tells the states of the weights in this process apart: what was made in another one
  // is forgotten. `identity` does so between processes and models (weights, configuration, arithmetic); it is
  // only called where there is a folder or the memory is shared.
  void begin(std::uint64_t version, const std::function<std::string()>& identity);
  VisionFeatures get(const PreparedVisual& visual, const std::function<VisionFeatures()>& make);
  // Of several at once: `make` is called once, with the places of those that are to be made.
  std::vector<VisionFeatures> get_all(
      std::span<const std::shared_ptr<const PreparedVisual>> visuals,
      const std::function<std::vector<VisionFeatures>(std::span<const std::size_t>)>& make);
  bool shared() const { return options_.shared; }

  std::uint64_t made() const { return made_; }  // how often `make` was called
  std::uint64_t held_bytes() const { return memory_->held_bytes(); }

 private:
  std::optional<VisionFeatures> find(const std::string& key);
  void store(const std::string& key, VisionFeatures& features);
  std::filesystem::path file_of(const std::string& key) const;
  bool read(const std::string& key, VisionFeatures& features) const;
  void write(const std::string& key, const VisionFeatures& features);
  bool make_room();

  const FeatureCacheOptions options_;
  std::optional<std::uint64_t> version_;
  std::string identity_;
  std::shared_ptr<FeatureMemory> memory_;
  std::uint64_t made_ = 0;
  std::uint64_t on_disk_ = 0,
                added_ = 0;  // as far as this process knows, and by it since it looked
};

}  // namespace dt2it::nn
